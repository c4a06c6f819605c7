# frozen_string_literal: true

require_relative "lib/nodevent/version"

Gem::Specification.new do |spec|
  spec.name = "nodevent"
  spec.version = NoDevent::VERSION
  spec.summary = "Something happened in this room, and every browser in it hears of it, now."
  spec.description = "Live pages for Rails and any other Ruby application: emit an event to a room, and every " \
                     "browser in it hears it, in order, also after a lost connection. With the server."
  spec.authors = ["The NoDevent authors"]
  spec.license = "MIT"
  spec.metadata = { "rubygems_mfa_required" => "true" }
  spec.required_ruby_version = ">= 3.1"

  # What the gem and the two crates below it are built from. cargo wants every member of the workspace.
  wanted = %r{\A(lib|exe|sig|ext/nodevent|protocol|server|client/dist|bench/load)/|
              \A(Cargo\.(toml|lock)|[A-Z]+(\.md)?)\z}x
  unwanted = %r{/(tests|fuzz|examples|target)/|/Makefile\z|\Aprotocol/vectors/|\Alib/.*\.(so|bundle)\z}
  listed = begin
    IO.popen(%w[git ls-files -z], chdir: __dir__, err: File::NULL) { |git| git.read.split("\0") }
  rescue SystemCallError
    []
  end
  listed = Dir.glob("**/*", base: __dir__).select { |path| File.file?(File.join(__dir__, path)) } if listed.empty?
  spec.files = listed.grep(wanted).grep_v(unwanted).sort
  spec.bindir = "exe"
  spec.executables = ["nodevent"]
  spec.extensions = ["ext/nodevent/extconf.rb"]
end
