# frozen_string_literal: true

require_relative "package/npm_package"

namespace :package do
  desc "Build the npm packages of this platform into pkg/npm/ (NODEVENT_PROFILE=release as for users; dev by default)"
  task :npm do
    profile = ENV.fetch("NODEVENT_PROFILE", "dev")
    folder = File.join(ENV.fetch("CARGO_TARGET_DIR", File.join(NpmPackage::ROOT, "target")),
                       profile == "dev" ? "debug" : profile)
    sh "cargo", "build", "--locked", "--profile", profile, "--package", "nodevent-server", verbose: false
    packages = NpmPackage.build(File.join(folder, "nodevent"), File.join(NpmPackage::ROOT, "pkg/npm"))
    packages.each { |file| puts "built #{file}" }
  end
end
