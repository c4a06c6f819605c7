# frozen_string_literal: true

require "json"
require "openssl"
require "time"

module NoDevent
  module Cable
    # Names of streams, and their signatures: those of turbo-rails, so each accepts what the other has signed.
    # `protocol/README.md` section 17 defines them.
    module StreamName
      # The salt of the key that turbo-rails derives from `secret_key_base`.
      SALT = "turbo/signed_stream_verifier_key"
      KEY_BYTES = 64
      # Of the derivation, as in Rails.
      ITERATIONS = 1000
      # A name with its signature.
      FORM = /\A(.+)--([0-9a-f]{64})\z/m

      private_constant :ITERATIONS, :FORM

      # A name that is not accepted.
      class Invalid < StandardError; end

      class << self
        # @param streamables [Object, Array] records, which are named by their global id, and other objects with
        #   `to_param`
        # @return [String] the name of the stream, as `ActionCable.server.broadcast` is given it
        # @raise [ArgumentError] without any
        def of(streamables)
          name = join(streamables)
          raise ArgumentError, "a stream needs a name; pass records or texts" if name.delete(":").empty?

          name
        end

        # @param secret_key_base [String] that of Rails
        # @param digest [String] "SHA256", or "SHA1" for the defaults of Rails before 7.0
        # @return [String] the key with which turbo-rails signs
        def derive_key(secret_key_base, digest = "SHA256")
          OpenSSL::KDF.pbkdf2_hmac(secret_key_base, salt: SALT, iterations: ITERATIONS, length: KEY_BYTES, hash: digest)
        end

        # @param name [String]
        # @param key [String]
        # @return [String] the name with its signature
        def sign(name, key)
          data = [JSON.generate(name)].pack("m0")
          "#{data}--#{signature(data, key)}"
        end

        # @param token [String] a name with its signature
        # @param keys [Array<String>]
        # @param now [Time]
        # @return [String] the name
        # @raise [Invalid] why it is not accepted
        def verify(token, keys, now: Time.now)
          data, sent = token.match(FORM)&.captures
          malformed = "Malformed stream name"
          raise Invalid, malformed if data.nil? && !token.match?(/\A.+--.{64}\z/m)

          is_signed = data && keys.any? { |key| same?(sent, signature(data, key)) }
          raise Invalid, "Bad stream name signature" unless is_signed

          name(decode(data), now)
        end

        private

        def join(streamables)
          return streamables.map { |one| join(one) }.join(":") if streamables.is_a?(Array)
          return streamables.to_gid_param if streamables.respond_to?(:to_gid_param)

          (streamables.respond_to?(:to_param) ? streamables.to_param : streamables).to_s
        end

        def signature(data, key)
          OpenSSL::HMAC.hexdigest("SHA256", key, data)
        end

        def same?(one, other)
          one.bytesize == other.bytesize && OpenSSL.fixed_length_secure_compare(one, other)
        end

        def decode(data)
          # Standard, or URL-safe with or without padding.
          padded = data.tr("-_", "+/").ljust((data.bytesize + 3) / 4 * 4, "=")
          JSON.parse(padded.unpack1("m0").force_encoding(Encoding::UTF_8))
        rescue ArgumentError, JSON::ParserError, ::EncodingError
          raise Invalid, NOT_A_NAME
        end

        # What was signed is a name, or an envelope with one.
        def name(signed, now)
          return signed if signed.is_a?(String)

          envelope = signed["_rails"] if signed.is_a?(Hash)
          raise Invalid, NOT_A_NAME unless envelope.is_a?(Hash)
          raise Invalid, "Stream name is signed for another purpose" unless envelope["pur"].nil?

          check_expiry(envelope["exp"], now)
          name = envelope.fetch("data") { decode(envelope["message"].to_s) }
          name.is_a?(String) ? name : raise(Invalid, NOT_A_NAME)
        end

        def check_expiry(expiry, now)
          return if expiry.nil?

          raise Invalid, "Stream name has expired" if now >= Time.iso8601(expiry.to_s)
        rescue ArgumentError
          raise Invalid, NOT_A_NAME
        end

        NOT_A_NAME = "Signed text is not a stream name"

        private_constant :NOT_A_NAME
      end
    end
  end
end
