# frozen_string_literal: true

require "digest"

module NoDevent
  # Signs room keys: `sha256(room + ts + secret) + ":" + ts`, where `ts` is the expiry in milliseconds, with exactly 13
  # digits. With `bound_keys: sign` or `require`, keys that only their namespace accepts. `protocol/README.md` section 5
  # defines both.
  module RoomKey
    # The expiry times with 13 digits: 2001-09-09 to 2286-11-20.
    RANGE = (1_000_000_000_000..9_999_999_999_999)

    class << self
      # @param room [String]
      # @param expires [Time, #to_f, #to_time] when the key expires; numbers are seconds since 1970
      # @param secret [String, nil]
      # @param namespace [String, nil] the namespace that the key is bound to; nil: to none
      # @param max_lifetime [Numeric, nil] the server's limit in seconds
      # @return [String] the key. Without a secret it is well-formed, and the server, which is open then, ignores it
      # @raise [InvalidExpiryError] if the expiry is not a time, has not 13 digits, or is beyond the limit
      def sign(room, expires, secret, namespace: nil, max_lifetime: nil)
        timestamp = timestamp(expires)
        check_lifetime(timestamp, max_lifetime) if secret && max_lifetime
        return Native.sign_bound(namespace, room, timestamp, secret) if secret && namespace
        return Native.sign(room, timestamp, secret) if secret

        "#{Digest::SHA256.hexdigest("#{room}#{timestamp}")}:#{timestamp}"
      end

      # @return [Integer] milliseconds, computed in double precision as the old formula requires
      # @raise [InvalidExpiryError] see {sign}
      def timestamp(expires)
        seconds = seconds(expires)
        timestamp = seconds.finite? ? (seconds * 1000).to_i : nil
        return timestamp if RANGE.cover?(timestamp)

        raise InvalidExpiryError, "a key cannot expire at #{Text.value(expires)}: give a time between 2001-09-09 and " \
                                  "2286-11-20, such as `Time.now + NoDevent::HOUR`#{hint(expires, seconds)}"
      end

      private

      # The server would reject the key.
      def check_lifetime(timestamp, max_lifetime)
        lifetime = (timestamp / 1000.0) - Time.now.to_f
        return if lifetime <= max_lifetime

        raise InvalidExpiryError, "a key cannot be valid for #{lifetime.round} s: the server rejects keys that are " \
                                  "valid for more than #{max_lifetime.round} s; give an earlier time, or raise " \
                                  "max_key_lifetime"
      end

      def seconds(expires)
        return expires.to_f if expires.respond_to?(:to_f) && !expires.nil?
        return expires.to_time.to_f if expires.respond_to?(:to_time)

        raise InvalidExpiryError, "a key cannot expire at #{Text.value(expires)}: give a time, such as " \
                                  "`Time.now + NoDevent::HOUR`"
      end

      def hint(expires, seconds)
        if expires.respond_to?(:from_now) then " or `#{Text.value(expires)}.from_now`"
        elsif RANGE.cover?(seconds) then " (this looks like milliseconds; numbers are seconds)"
        end
      end
    end
  end
end
