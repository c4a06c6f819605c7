# frozen_string_literal: true

require "nodevent/configuration/redacted"
require "nodevent/configuration/secret_section"
require "nodevent/configuration/secrets"

module NoDevent
  class Configuration
    # What `token` says about the tokens that the gem signs. The server reads the same keys.
    class TokenRules
      include Unprintable

      # How long a token may be valid if `max_lifetime` is not configured, as for the server.
      #
      # # Units
      # Seconds.
      MAX_LIFETIME = 24 * 60 * 60

      private_constant :MAX_LIFETIME

      # @return [String, nil] the id of the secret, which tokens name in `kid`
      attr_reader :id
      # @return [String, nil] the first of `aud`
      attr_reader :audience
      # @return [String, nil] the first of `iss`
      attr_reader :issuer
      # @return [Numeric] the longest lifetime of a token in seconds
      attr_reader :max_lifetime

      class << self
        # @param values [Values]
        # @param folder [String] where relative paths begin
        # @return [TokenRules, nil] nil without `token`
        # @raise [ConfigurationError]
        def read(values, folder)
          keys = values.mapping("token")
          return if keys.empty?

          section = SecretSection.new(values, keys, "token")
          secret, id = Secrets.token(section, folder)
          max_lifetime = values.seconds("token.max_lifetime", keys["max_lifetime"], MAX_LIFETIME)
          new(section, secret, id, max_lifetime, values.flag("open"))
        end
      end

      def initialize(section, secret, id, max_lifetime, open)
        @secret = Redacted.new(secret) if secret
        @id = id
        @audience = section.first("aud")
        @issuer = section.first("iss")
        @max_lifetime = max_lifetime
        @open = open
        freeze
      end

      # @return [Boolean] whether a token can be the key of a room, if the namespace has no secret for other keys
      def opens_rooms?
        !@secret.nil? && !@open
      end

      # @return [String, nil] the secret that signs tokens. nil: only public keys are configured
      def secret
        @secret&.reveal
      end
    end
  end
end
