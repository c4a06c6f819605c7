# frozen_string_literal: true

require_relative "lib/nodevent/version"

Gem::Specification.new do |spec|
  spec.name = "nodevent"
  spec.version = NoDevent::VERSION
  spec.summary = "Pushes events from Ruby and Rails to browsers, in order and with catch-up after a lost connection."
  spec.description = "Live updates for Rails and other Ruby applications: emit an event to a room, and every " \
                     "browser in the room receives it, in order, even after a lost connection. Includes the server."
  spec.authors = ["The NoDevent authors"]
  spec.license = "MIT"
  spec.metadata = { "rubygems_mfa_required" => "true" }
  spec.required_ruby_version = ">= 3.1"

  # The sources of the gem and its crates. cargo requires every member of the workspace.
  wanted = %r{\A(lib|exe|sig|ext/nodevent|protocol|server|client/dist|bench/load)/|
              \Aclient/(package\.json|README\.md|LICENSE)\z|
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
