# frozen_string_literal: true

require "openssl"

module NoDevent
  class Realtime
    # Mirrors the session's key in a cookie of its own, because the server cannot read sessions. The cookie is signed,
    # and scripts cannot read it. The application never reads the key from it.
    # @api private
    class KeyCookie
      # How long a cookie is valid.
      #
      # # Units
      # Seconds.
      LIFETIME = 7 * 24 * HOUR
      # A page that is opened later gets a new one.
      #
      # # Units
      # Seconds.
      RENEWED_AFTER = 24 * HOUR
      VERSION = "1"
      # The largest number of a date that the server accepts has fewer digits.
      EXPIRES = /\A\d{1,12}\z/

      private_constant :VERSION, :EXPIRES

      class << self
        # @param secret [String] `pages: secret`
        # @param namespace [String] with its slash
        # @param key [String]
        # @param expires [Integer] seconds since 1970
        # @return [String] the value of the cookie
        def value(secret, namespace, key, expires)
          text = "nodevent:cookie:#{VERSION}:#{namespace}:#{key}:#{expires}"
          [VERSION, key, expires, OpenSSL::HMAC.hexdigest("SHA256", secret, text)].join(".")
        end
      end

      # @param settings [Configuration::Pages::Cookie]
      # @param namespace [String]
      # @param env [Hash] Rack's
      def initialize(settings, namespace, env)
        @settings = settings
        @namespace = namespace
        @request = Rack::Request.new(env)
      end

      # @return [Boolean] whether the browser has sent one
      def sent?
        !sent.nil?
      end

      # @param key [String]
      # @param now [Integer] seconds since 1970
      # @return [Boolean] whether the browser's cookie is that of the key, and valid for long enough
      def current?(key, now = Time.now.to_i)
        expires = sent.to_s.split(".")[2].to_s
        return false unless expires.match?(EXPIRES)

        Rack::Utils.secure_compare(sent, self.class.value(@settings.secret, @namespace, key, expires.to_i)) &&
          expires.to_i > now + LIFETIME - RENEWED_AFTER
      end

      # Adds the cookie to a response.
      # @param headers [Hash] Rack's
      # @param key [String]
      # @param now [Integer] seconds since 1970
      # @return [void]
      def write(headers, key, now = Time.now.to_i)
        set(headers, value: self.class.value(@settings.secret, @namespace, key, now + LIFETIME))
      end

      # Removes the cookie from the browser.
      # @param headers [Hash] Rack's
      # @return [void]
      def delete(headers)
        set(headers, value: "", max_age: "0", expires: Time.at(0))
      end

      private

      def sent
        @request.cookies[@settings.name]
      end

      # Not `Secure` without HTTPS, where the browser would not keep it.
      def set(headers, attributes)
        secure = @request.ssl? || @settings.name.start_with?("__Host-", "__Secure-")
        Rack::Utils.set_cookie_header!(headers, @settings.name,
                                       { path: "/", httponly: true, same_site: :lax, secure: secure }.merge(attributes))
      end
    end
  end
end
