# frozen_string_literal: true

module NoDevent
  # The extension written in Rust. Private to the gem: everything in it may change without notice.
  module Native
    # Precompiled extensions are in a folder per ABI, because Ruby silently loads an extension built for another Ruby.
    PATHS = ["#{RUBY_VERSION[/\A\d+\.\d+/]}/nodevent", "nodevent"].freeze

    private_constant :PATHS

    path = PATHS.find { |name| File.file?(File.join(__dir__, "#{name}.#{RbConfig::CONFIG['DLEXT']}")) }
    begin
      require_relative(path || PATHS.last)
    rescue LoadError => e
      raise LoadError, "cannot load the nodevent extension (#{Text.clean(e.message)}). In a checkout run " \
                       "`rake compile`; for an installed gem run `gem pristine nodevent`. Both require Rust: https://rustup.rs"
    end
  end
end
