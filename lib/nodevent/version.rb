# frozen_string_literal: true

module NoDevent
  # The version of gem, extension and server. It stands here for RubyGems and in Cargo.toml for Rust; a spec holds
  # the two together.
  VERSION = "4.0.0"
end

# The name that the older gem had, for those who ask it for its version.
module Nodevent
  VERSION = NoDevent::VERSION
end
