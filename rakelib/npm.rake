# frozen_string_literal: true

require_relative "package/npm_package"
require_relative "package/server_build"

namespace :package do
  desc "Build the npm packages of this platform into pkg/npm/ (NODEVENT_PROFILE=release as for users; dev by default)"
  task :npm do
    NpmPackage.build(ServerBuild.binary, File.join(NpmPackage::ROOT, "pkg/npm")).each { |file| puts "built #{file}" }
  end
end
