# frozen_string_literal: true

# Builds the Debian package of the server, and installs it in a container. Without a container,
# `spec/nodevent/debian_package_spec.rb` tests it.

require_relative "package/debian_package"
require_relative "package/server_build"

namespace :package do
  desc "Build the Debian package of the server into pkg/ (NODEVENT_PROFILE=release as for users; dev by default)"
  task :deb do
    DebianPackage.build(ServerBuild.binary)
    puts "built #{DebianPackage.file}"
  end

  desc "Install the Debian package in a container, and kill its server (as root, with debootstrap; row N-12)"
  task "deb:smoke" => :deb do
    sh File.join(__dir__, "package/debian_smoke"), DebianPackage.file, verbose: false
  end
end
