# frozen_string_literal: true

require "json"
require "nodevent/doctor/http"

module NoDevent
  # Asks the server at `url` of the configuration: one bounded GET, whose response is JSON.
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
        url = config.url or raise ConfigurationError, "#{purpose} needs the server's address: set `url:` (now `false`)"
        uri = URI("#{url.chomp('/')}/api#{config.namespace}/#{path.map { |part| escape(part) }.join('/')}")
        status, body = request(uri, bearer)
        raise ServerError, refusal(uri, status, body) unless status == "200"

        JSON.parse(body)
      rescue JSON::ParserError
        raise ServerError, NOT_A_SERVER
      end

      private

      def request(uri, bearer)
        response = Doctor::Http.get(uri.to_s, bearer)
        [response.code, response.body.to_s.dup.force_encoding(Encoding::UTF_8)]
      rescue Doctor::Http::Failed => e
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
