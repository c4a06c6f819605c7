# frozen_string_literal: true

module NoDevent
  # The version of the gem, the extension and the server. RubyGems reads it here, Rust reads it in Cargo.toml; a spec
  # checks that they are equal.
  VERSION = "4.0.0"
end

# The name of the older gem's module, for programs that read its version.
module Nodevent
  VERSION = NoDevent::VERSION
end
