# frozen_string_literal: true

module NoDevent
  module Handover
    # The head of a request, written again from Rack's environment.
    # @api private
    module RequestHead
      # The request cannot be passed on.
      class Malformed < StandardError; end

      # A header in the environment. Names with other characters are those that a server has marked as ambiguous.
      NAME = /\AHTTP_([A-Z0-9_]+)\z/
      TARGET = %r{\A/[\x21-\x7e]*\z}
      # They belong to the connection to Puma, which has handled them; or they are no headers.
      OWN = %w[HTTP_VERSION HTTP_CONNECTION HTTP_KEEP_ALIVE HTTP_TRANSFER_ENCODING HTTP_TE HTTP_TRAILER HTTP_EXPECT
               HTTP_UPGRADE HTTP_HTTP2_SETTINGS HTTP_CONTENT_LENGTH HTTP_CONTENT_TYPE].freeze

      private_constant :NAME, :TARGET, :OWN

      class << self
        # The path with which a client has asked, below the place where the application is mounted. Rails normalizes
        # `PATH_INFO`, which loses a slash at the end.
        # @param env [Hash] Rack's
        # @return [String]
        def path(env)
          mounted = env["SCRIPT_NAME"].to_s
          asked = env["REQUEST_PATH"] || env["REQUEST_URI"].to_s[%r{\A(?:\w+://[^/?]*)?([^?]*)}, 1]
          own = asked.delete_prefix(mounted) if asked.to_s.start_with?("#{mounted}/")
          own || env["PATH_INFO"].to_s
        end

        # @param env [Hash] Rack's
        # @return [Boolean] whether it asks for a WebSocket
        def upgrade?(env)
          env["HTTP_UPGRADE"].to_s.casecmp?("websocket") && env["HTTP_CONNECTION"].to_s.match?(/\bupgrade\b/i)
        end

        # The head for a connection that is handed over. Its first response is the last one, except for a WebSocket.
        # @param env [Hash] Rack's
        # @param path [String] see {path}
        # @return [String]
        # @raise [Malformed]
        def of_connection(env, path)
          version = env["SERVER_PROTOCOL"] == "HTTP/1.0" ? "HTTP/1.0" : "HTTP/1.1"
          connection = upgrade?(env) ? "connection: Upgrade\r\nupgrade: websocket\r\n" : "connection: close\r\n"
          "#{lines(env, path, version)}#{connection}\r\n"
        end

        # The head for a single request with a body. The response ends with the connection, so its body is not encoded.
        # @param length [Integer] of the body
        # @return [String]
        # @raise [Malformed]
        def of_request(env, path, length)
          body = "content-length: #{length}\r\n" if length.positive? || env["REQUEST_METHOD"] == "POST"
          type = env["CONTENT_TYPE"].to_s
          type = type.empty? ? "" : "content-type: #{value(type)}\r\n"
          "#{lines(env, path, 'HTTP/1.0')}#{type}#{body}\r\n"
        end

        private

        def lines(env, path, version)
          query = env["QUERY_STRING"].to_s
          target = query.empty? ? path : "#{path}?#{query}"
          raise Malformed, "the address has other characters than ASCII" unless target.b.match?(TARGET)

          headers = env.filter_map do |key, text|
            next if OWN.include?(key) || !text.is_a?(String)

            name = key[NAME, 1] or next
            "#{name.downcase.tr('_', '-')}: #{value(text)}\r\n"
          end
          "#{env['REQUEST_METHOD']} #{target} #{version}\r\n#{headers.join}"
        end

        def value(text)
          raise Malformed, "a header has a line break" if text.b.match?(/[\r\n\0]/n)

          text.b.force_encoding(Encoding::UTF_8)
        end
      end
    end
  end
end
