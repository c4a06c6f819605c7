# frozen_string_literal: true

module NoDevent
  # Finds the server that was built with this gem. Also loaded by the command `nodevent`, without the rest of the gem.
  module ServerBinary
    ROOT = File.expand_path("../..", __dir__)
    INSTALLED = File.join(ROOT, "lib/nodevent/bin/nodevent")
    # In a checkout.
    BUILT = %w[release debug].map { |profile| File.join(ROOT, "target", profile, "nodevent") }.freeze
    MISSING = "nodevent: the server is not built. In a checkout run `rake compile:server`; for an installed gem run " \
              "`gem pristine nodevent`. Both require Rust: https://rustup.rs"

    private_constant :ROOT, :INSTALLED, :BUILT

    # @return [String, nil] the path of the program, in a checkout the newest build; nil if it is not built
    def self.path
      return INSTALLED if File.executable?(INSTALLED)

      BUILT.select { |path| File.executable?(path) }.max_by { |path| File.mtime(path) }
    end
  end
end
