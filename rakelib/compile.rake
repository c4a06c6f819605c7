# frozen_string_literal: true

# Builds the extension and the server in a checkout, with the Makefile that an installed gem uses.

namespace :compile do
  makefile = lambda do |target|
    folder = File.expand_path("../tmp/compile", __dir__)
    mkdir_p folder, verbose: false
    sh RbConfig.ruby, File.expand_path("../ext/nodevent/extconf.rb", __dir__), chdir: folder, verbose: false
    sh "make", "--silent", target, "sitearchdir=#{File.expand_path('../lib', __dir__)}", chdir: folder, verbose: false
  end

  desc "Build the extension into lib/nodevent (NODEVENT_PROFILE=release for the optimised one)"
  task(:extension) { makefile.call("install-extension") }

  desc "Build the server into target/, where exe/nodevent finds it"
  task(:server) { makefile.call("server") }
end

desc "Build the extension"
task compile: "compile:extension"
