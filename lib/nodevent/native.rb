# frozen_string_literal: true

module NoDevent
  # The extension written in Rust. Private to the gem: everything in here may change without notice.
  module Native
    # Ruby loads a library that was built for another Ruby without a word, so precompiled ones lie in a folder per ABI.
    PLACES = ["#{RUBY_VERSION[/\A\d+\.\d+/]}/nodevent", "nodevent"].freeze

    private_constant :PLACES

    place = PLACES.find { |name| File.file?(File.join(__dir__, "#{name}.#{RbConfig::CONFIG['DLEXT']}")) }
    begin
      require_relative(place || PLACES.last)
    rescue LoadError => e
      raise LoadError, "the extension of nodevent cannot be loaded (#{e.message}). In a checkout run " \
                       "`rake compile`; for an installed gem run `gem pristine nodevent`. Both need Rust: https://rustup.rs"
    end
  end
end
