# frozen_string_literal: true

require "digest"
require "openssl"
require "stringio"
require "uri"

module NoDevent
  class Realtime
    # Recognizes the requests of the server: what a page calls over its socket, and messages for handlers and hooks.
    # They have the visitor's cookies, so only the server's signature makes them different from a request of another
    # site.
    # @api private
    module SignedRequest
      SIGNATURE = "HTTP_X_NODEVENT_SIGNATURE"
      CONNECTION = "HTTP_X_NODEVENT_CONNECTION"
      NAMESPACE = "HTTP_X_NODEVENT_NAMESPACE"
      # Only with a valid signature do these mean anything. `X-NoDevent-Signature` also signs the requests of {Hooks}.
      CLAIMS = [CONNECTION, NAMESPACE].freeze
      # Set in Rack's environment, where no header can set it.
      VERIFIED = "nodevent.call"
      FORM = /\At=(\d{1,12}),v1=[0-9a-f]{64}\z/
      # The maximum size of a body: the server sends what it received in one message.
      #
      # # Units
      # Bytes.
      MAX_BODY = 16 * 1024 * 1024

      private_constant :FORM, :MAX_BODY

      class << self
        # Verifies a request once. What a request claims that the server has not signed is deleted, so that nothing
        # after the middleware can believe it.
        # @param env [Hash] Rack's
        # @return [Boolean] whether the server has sent it
        def verify(env)
          return verified?(env) if env.key?(VERIFIED)

          env[VERIFIED] = env.key?(SIGNATURE) && env.key?(CONNECTION) && signed?(env)
          CLAIMS.each { |name| env.delete(name) } unless verified?(env)
          verified?(env)
        end

        # @param env [Hash] Rack's
        # @return [Boolean] whether the request was verified
        def verified?(env)
          env[VERIFIED] == true
        end

        # @param env [Hash] Rack's
        # @return [Boolean] whether it is a message for a handler, or for a hook
        def for_handlers?(env)
          path(env) == calls(env)&.handlers
        end

        # @param secret [String] `calls: secret`
        # @param seconds [Integer] since 1970
        # @param parts [Array<String>] namespace, method, path with query, connection, cookies and body
        # @return [String] the value of `X-NoDevent-Signature`
        def sign(secret, seconds, parts)
          *plain, cookie, body = parts
          text = ["call", *plain, Digest::SHA256.hexdigest(cookie), Digest::SHA256.hexdigest(body)].join("\n")
          Hooks.sign(secret, seconds, text)
        end

        # @param env [Hash] Rack's
        # @return [String] the path with its query as the client has sent it: no web server has decoded it
        def path(env)
          sent = env["REQUEST_URI"] || env["ORIGINAL_FULLPATH"]
          return sent.sub(%r{\A[A-Za-z]+://[^/?#]*}, "") if sent

          query = env["QUERY_STRING"].to_s
          "#{env['SCRIPT_NAME']}#{env['PATH_INFO']}#{"?#{query}" unless query.empty?}"
        end

        private

        # The settings of the namespace that the request names.
        def calls(env)
          Emitter.config.namespaces.find { |config| config.namespace == env[NAMESPACE] }&.calls
        end

        def signed?(env)
          sent = env[SIGNATURE].to_s
          seconds = sent[FORM, 1]
          return false unless seconds && (Time.now.to_i - seconds.to_i).abs <= Hooks::TOLERANCE

          calls = calls(env) or return false
          body = body_of(env) or return false
          expected = sign(calls.secret, seconds, parts(env, body))
          OpenSSL.fixed_length_secure_compare(sent, expected)
        rescue ArgumentError
          # The length differs: a time with leading zeros.
          false
        end

        def parts(env, body)
          [env[NAMESPACE], env["REQUEST_METHOD"].to_s, path(env), env[CONNECTION], env["HTTP_COOKIE"].to_s, body]
        end

        # @return [String, nil] the body, which the application can read again; nil if it is too large
        def body_of(env)
          input = env["rack.input"] or return ""
          body = RackInput.read(env, MAX_BODY + 1)
          input.respond_to?(:rewind) ? input.rewind : env["rack.input"] = StringIO.new(body)
          body if body.bytesize <= MAX_BODY
        end
      end
    end
  end
end
