# frozen_string_literal: true

require "securerandom"

module NoDevent
  module Doctor
    # What the doctor shows to the server: keys to its own room, and tokens of a user that no application has. For each
    # there is a forged one, which only a server with other secrets accepts.
    class Credentials
      # How long they are valid. Seconds.
      LIFETIME = 600
      # The user of the tokens.
      USER = "nodevent-doctor"

      private_constant :LIFETIME, :USER

      # @param config [Configuration] the namespace
      # @param room [String]
      def initialize(config, room)
        @config = config
        @room = room
      end

      # @return [Boolean] whether this application can sign keys
      def keys?
        !@config.secret.nil? || token_keys?
      end

      # @return [Boolean] whether this application can sign tokens
      def tokens?
        !@config.token&.secret.nil?
      end

      # @return [String]
      def key
        token_keys? ? Token.room_key(@room, expires, @config) : room_key(@config.secret)
      end

      # @return [String]
      def forged_key
        token_keys? ? forge(key) : room_key(SecureRandom.hex(32))
      end

      # @return [String]
      def token
        Token.issue(USER, expires: expires, namespace: @config.namespace)
      end

      # @return [String]
      def forged_token
        forge(token)
      end

      private

      def token_keys?
        @config.secret.nil? && @config.token&.opens_rooms?
      end

      def room_key(secret)
        rules = @config.key_rules
        RoomKey.sign(@room, expires, secret, namespace: (@config.namespace if rules.bound?),
                                             max_lifetime: rules.max_lifetime)
      end

      # Replaces the signature.
      def forge(token)
        "#{token[/.*\./]}#{[SecureRandom.bytes(32)].pack('m0').tr('+/', '-_').delete('=')}"
      end

      def expires
        limits = [LIFETIME, @config.key_rules.max_lifetime, (@config.token&.max_lifetime if tokens?)]
        Time.now + limits.compact.min
      end
    end
  end
end
