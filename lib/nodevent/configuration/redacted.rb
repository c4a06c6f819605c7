# frozen_string_literal: true

module NoDevent
  class Configuration
    # Objects that contain secrets: whatever prints or stores them gets the text of `inspect`. Active Support would
    # write all instance variables.
    module Unprintable
      # @return [String]
      def as_json(*)
        inspect
      end

      # @return [String] JSON
      def to_json(*)
        inspect.to_json
      end

      # For YAML.
      def encode_with(coder)
        coder.scalar = inspect
      end

      # @raise [TypeError] always
      def marshal_dump
        raise TypeError, "a configuration cannot be dumped, because it contains secrets"
      end
    end

    # A value that must not be printed: a secret, or settings that contain a password.
    class Redacted
      SHOWN = "[redacted]"

      # @param value [Object]
      def initialize(value)
        @reveal = -> { value }
        freeze
      end

      # @return [Object] the value
      def reveal
        @reveal.call
      end

      def inspect
        SHOWN
      end
      alias to_s inspect

      def to_json(*)
        SHOWN.to_json
      end

      def as_json(*)
        SHOWN
      end

      def pretty_print(printer)
        printer.text(SHOWN)
      end

      def encode_with(coder)
        coder.scalar = SHOWN
      end

      def marshal_dump
        raise TypeError, "a secret cannot be dumped"
      end
    end
  end
end
