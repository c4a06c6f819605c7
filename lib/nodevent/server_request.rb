# frozen_string_literal: true

require "json"
require "nodevent/http_request"

module NoDevent
  # Asks the server at `url` of the configuration: one bounded request, whose response is JSON.
  # @api private
  module ServerRequest
    # The error for the response of another program.
    NOT_A_SERVER = "the response is not that of a NoDevent server"

    class << self
      # @param path [Array<String>] the parts of the path after the namespace, which are percent-encoded
      # @param bearer [String, nil] the key or token
      # @param purpose [String] what needs the server, for the error if there is none
      # @return [Object] the JSON of the response
      # @raise [ServerError]
      # @raise [ConfigurationError]
      def get(config, path, bearer, purpose)
        uri = address(config, path, purpose)
        status, body = request(uri, bearer)
        raise ServerError, refusal(uri, status, body) unless status == "200"

        JSON.parse(body)
      rescue JSON::ParserError
        raise ServerError, NOT_A_SERVER
      end

      # Sends JSON with the publish key of the configuration.
      # @param path [Array<String>] see {get}
      # @param purpose [String] see {get}
      # @param timeout [Numeric] seconds for the request with its response
      # @return [Array(Net::HTTPResponse, Hash)] the response, and its JSON object; empty if it has none
      # @raise [HttpRequest::Failed] there is no response
      # @raise [ConfigurationError]
      def post(config, path, json, purpose, timeout: HttpRequest::TIMEOUT)
        uri = address(config, path, purpose)
        response = HttpRequest.post(uri.to_s, json, config.publish_key, timeout: timeout)
        [response, object(response)]
      end

      private

      def address(config, path, purpose)
        url = config.url or raise ConfigurationError, "#{purpose} needs the server's address: set `url:` (now `false`)"
        URI("#{url.chomp('/')}/api#{config.namespace}/#{path.map { |part| escape(part) }.join('/')}")
      end

      # Another program may respond with anything.
      def object(response)
        body = JSON.parse(response.body.to_s.dup.force_encoding(Encoding::UTF_8))
        body.is_a?(Hash) ? body : {}
      rescue JSON::ParserError
        {}
      end

      def request(uri, bearer)
        response = HttpRequest.get(uri.to_s, bearer)
        [response.code, response.body.to_s.dup.force_encoding(Encoding::UTF_8)]
      rescue HttpRequest::Failed => e
        raise ServerError, "#{Text.clean(uri.origin)} is unavailable: #{e.message}"
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
