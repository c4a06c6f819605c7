# frozen_string_literal: true

require "json"
require "openssl"

module NoDevent
  # Signs tokens: JSON Web Tokens that say who a page's visitor is. The secret is `token: secret` of the configuration.
  # `protocol/README.md` defines the claims.
  #
  # @example
  #   NoDevent::Token.issue(current_user)
  #   NoDevent::Token.issue(current_user, expires: 5.minutes.from_now, rooms: [discussion], info: { name: "Ann" })
  module Token
    # How long a token is valid if the caller does not say. Pages get a new one before it expires.
    #
    # # Units
    # Seconds.
    LIFETIME = 15 * 60
    # Limits of the server, in bytes.
    MAX_BYTES = 8 * 1024
    MAX_INFO_BYTES = 1024

    private_constant :MAX_BYTES, :MAX_INFO_BYTES

    class << self
      # A token for a connection of a user.
      # @param user [String, Symbol, Integer, #id] the user, or its id
      # @param expires [Time, #to_f, #to_time, nil] when it expires, by default in 15 minutes; numbers are seconds since
      #   1970
      # @param rooms [Array, Object] rooms that the connection joins at once; see {Room.of}
      # @param info [Object, nil] JSON about the user, at most 1 KB. Others may see it
      # @param namespace [String, Symbol, nil] another namespace than the default
      # @return [String]
      # @raise [ArgumentError] if the user has no id, or if it, `info` or the token is too long
      # @raise [InvalidExpiryError] if it would have expired, or would be valid for longer than the server accepts
      # @raise [InvalidRoomError]
      # @raise [ConfigurationError] if no secret is configured that signs tokens
      def issue(user, expires: nil, rooms: [], info: nil, namespace: nil)
        config = (namespace ? NoDevent.namespace(namespace) : Namespace.default).config
        claims = { sub: User.id(user, "a token"), rooms: room_names(rooms, config), info: info(info) }
        claims.delete(:rooms) if claims[:rooms].empty?
        sign(claims, expires || (Time.now + LIFETIME), config)
      end

      # A token that opens one room, as a room key does.
      # @api private
      # @param room [String]
      # @return [String]
      def room_key(room, expires, config)
        sign({ room: room }, expires, config)
      end

      # The token of these claims, in their order.
      # @api private
      # @return [String]
      def encode(claims, secret, id = nil)
        input = [{ alg: "HS256", typ: "JWT", kid: id }.compact, claims].map { |part| base64(JSON.generate(part)) }
        input = input.join(".")
        "#{input}.#{base64(OpenSSL::HMAC.digest('SHA256', secret, input))}"
      end

      private

      def sign(claims, expires, config)
        rules = config.token
        unless rules&.secret
          raise ConfigurationError, "#{config.namespace} has no secret that signs tokens; write `token: {secret: …}` " \
                                    "below it, e.g. from `openssl rand -hex 32`"
        end
        now = Time.now.to_f
        claims = claims.merge(ns: config.namespace, iat: now.floor(3), exp: expiry(expires, now, rules),
                              aud: rules.audience, iss: rules.issuer)
        token = encode(claims.compact, rules.secret, rules.id)
        return token if token.bytesize <= MAX_BYTES

        raise ArgumentError, "the token has #{token.bytesize} bytes, and the server accepts #{MAX_BYTES}; list fewer " \
                             "rooms"
      end

      # Seconds, because the server compares them with `nbf` and `iat` in seconds.
      def expiry(expires, now, rules)
        seconds = RoomKey.timestamp(expires) / 1000
        raise InvalidExpiryError, "the token would have expired at #{expires.inspect}" if seconds <= now

        lifetime = seconds - now
        return seconds if lifetime <= rules.max_lifetime

        raise InvalidExpiryError, "a token cannot be valid for #{lifetime.round} s: the server rejects tokens that " \
                                  "are valid for more than #{rules.max_lifetime.round} s; give an earlier time, or " \
                                  "raise `token: max_lifetime`"
      end

      def room_names(rooms, config)
        rooms = rooms.respond_to?(:to_ary) ? rooms.to_ary : [rooms]
        rooms.map do |object|
          room = Room.of(object)
          next room if room.bytesize <= config.max_room_name

          raise InvalidRoomError, "#{room[0, 60].inspect} has a name longer than #{config.max_room_name} bytes, the " \
                                  "server's limit (limits: max_room_name)"
        end
      end

      def info(info)
        return if info.nil?

        info = info.as_json if info.respond_to?(:as_json)
        bytes = JSON.generate(info).bytesize
        return info if bytes <= MAX_INFO_BYTES

        raise ArgumentError, "`info` has #{bytes} bytes, and the server accepts #{MAX_INFO_BYTES}"
      end

      # Base64url without padding.
      def base64(bytes)
        [bytes].pack("m0").tr("+/", "-_").delete("=")
      end
    end
  end
end
