# frozen_string_literal: true

module NoDevent
  class Configuration
    # What `bound_keys` and `max_key_lifetime` say about the keys that the gem signs. The server reads the same keys.
    class KeyRules
      # The values of `bound_keys`, the default first.
      WORDS = %w[accept sign require].freeze
      # How long a bound key may be valid if `max_key_lifetime` is not configured, as for the server.
      #
      # # Units
      # Seconds.
      MAX_BOUND_LIFETIME = 30 * 24 * 60 * 60

      private_constant :WORDS, :MAX_BOUND_LIFETIME

      # @return [Numeric, nil] the longest lifetime of a key in seconds
      attr_reader :max_lifetime

      # @param values [Values]
      # @return [KeyRules]
      # @raise [ConfigurationError]
      def self.read(values)
        bound = values.word("bound_keys", WORDS, WORDS.first) != WORDS.first
        new(bound, values.seconds("max_key_lifetime", values.node("max_key_lifetime"), nil))
      end

      def initialize(bound, max_lifetime)
        @bound = bound
        @max_lifetime = max_lifetime || (MAX_BOUND_LIFETIME if bound)
        freeze
      end

      # @return [Boolean] whether keys are bound to their namespace when they are signed
      def bound?
        @bound
      end
    end
  end
end
