# frozen_string_literal: true

require "json"
require "net/http"
require "timeout"

module NoDevent
  # Asks the server at `url` of the configuration: one bounded GET, whose response is JSON.
  # @api private
  module ServerRequest
    # Maximum time for the request. Seconds.
    TIMEOUT = 5
    # Maximum size of a response. The server sends less. Bytes.
    MAX_BYTES = 1024 * 1024

    private_constant :TIMEOUT, :MAX_BYTES

    class << self
      # @param path [Array<String>] the parts of the path after the namespace, which are percent-encoded
      # @param bearer [String, nil] the key or token
      # @param purpose [String] what needs the server, for the error if there is none
      # @return [Object] the JSON of the response
      # @raise [ServerError]
      # @raise [ConfigurationError]
      def get(config, path, bearer, purpose)
        url = config.url or raise ConfigurationError, "#{purpose} needs the server's address: set `url:` (now `false`)"
        uri = URI("#{url.chomp('/')}/api#{config.namespace}/#{path.map { |part| escape(part) }.join('/')}")
        status, body = request(uri, bearer)
        raise ServerError, refusal(uri, status, body) unless status == "200"

        JSON.parse(body)
      rescue JSON::ParserError
        raise ServerError, NOT_A_SERVER
      end

      NOT_A_SERVER = "the response is not that of a NoDevent server"

      private

      def request(uri, bearer)
        request = Net::HTTP::Get.new(uri, "Accept-Encoding" => "identity")
        request["Authorization"] = "Bearer #{bearer}" if bearer
        Timeout.timeout(TIMEOUT) do
          Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == "https", open_timeout: TIMEOUT,
                                              read_timeout: TIMEOUT, max_retries: 0) do |http|
            http.request(request) { |response| return [response.code, limited(response)] }
          end
        end
      rescue Timeout::Error
        raise ServerError, "#{Text.clean(uri.origin)} did not respond within #{TIMEOUT} s"
      rescue SystemCallError, SocketError, IOError, Net::ProtocolError, OpenSSL::SSL::SSLError => e
        raise ServerError, "#{Text.clean(uri.origin)} is unavailable: #{Text.clean(e.message)}"
      end

      def limited(response)
        body = +""
        response.read_body do |piece|
          body << piece
          raise ServerError, "the response is larger than 1 MB" if body.bytesize > MAX_BYTES
        end
        body.force_encoding(Encoding::UTF_8)
      end

      def refusal(uri, status, body)
        error = JSON.parse(body).values_at("error", "hint").compact.join("; ")
        "#{Text.clean(uri.origin)} refused with #{status}: #{Text.clean(error)}"
      rescue JSON::ParserError, NoMethodError, TypeError
        "#{Text.clean(uri.origin)} refused with #{Text.clean(status)}"
      end

      def escape(part)
        part.b.gsub(/[^A-Za-z0-9\-._~]/n) { |byte| format("%%%02X", byte.ord) }
      end
    end
  end
end
