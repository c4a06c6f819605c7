# frozen_string_literal: true

# The build of the server for packages.
module ServerBuild
  ROOT = File.expand_path("../..", __dir__)

  module_function

  # Builds the server with the profile of cargo that NODEVENT_PROFILE names.
  # @return [String] the path of the binary
  def binary
    profile = ENV.fetch("NODEVENT_PROFILE", "dev")
    command = ["cargo", "build", "--locked", "--profile", profile, "--package", "nodevent-server"]
    system(*command, chdir: ROOT, exception: true)
    target = ENV.fetch("CARGO_TARGET_DIR", File.join(ROOT, "target"))
    File.join(target, profile == "dev" ? "debug" : profile, "nodevent")
  end
end
