# frozen_string_literal: true

require "net/http"
require "timeout"

module NoDevent
  # Sends one HTTP request. The program at the address may be any other one, so its response is limited in time and
  # size, is not decompressed, and a redirect is not followed.
  # @api private
  module HttpRequest
    # There is no response.
    class Failed < StandardError
      # @param message [#to_s] it may contain external texts
      def initialize(message)
        super(Text.clean(message))
      end
    end

    # The maximum duration of a request with its response.
    #
    # # Units
    # Seconds.
    TIMEOUT = 5
    # The maximum size of a response with its head. A response of long-polling contains publications, of 1 MB by
    # default.
    #
    # # Units
    # Bytes.
    MAX_BYTES = 4 * 1024 * 1024
    # Passed when a request is created, because Net::HTTP otherwise accepts and decompresses gzip.
    PLAIN = { "Accept-Encoding" => "identity" }.freeze

    private_constant :MAX_BYTES, :PLAIN

    # Extends the socket of a connection: fails if it delivers too much.
    module Limited
      def read_nonblock(*arguments, **options)
        super.tap do |data|
          @nodevent_read = @nodevent_read.to_i + data.bytesize if data.is_a?(String)
          raise Failed, "the response is larger than 4 MB" if @nodevent_read.to_i > MAX_BYTES
        end
      end
    end

    # A connection whose responses are limited.
    class Connection < Net::HTTP
      private

      def connect
        super
        @socket.io.extend(Limited)
      end
    end

    private_constant :Limited, :Connection

    class << self
      # @param url [String]
      # @param bearer [String, nil] the token for `Authorization`
      # @return [Net::HTTPResponse]
      # @raise [Failed]
      def get(url, bearer = nil)
        send_request(url) do |uri|
          Net::HTTP::Get.new(uri, PLAIN).tap { |request| request["Authorization"] = "Bearer #{bearer}" if bearer }
        end
      end

      # @param url [String]
      # @param body [String, nil] nil for a GET request
      # @param origin [String, nil] the header `Origin`
      # @return [Net::HTTPResponse]
      # @raise [Failed]
      def from_page(url, body: nil, origin: nil)
        send_request(url) do |uri|
          request = (body ? Net::HTTP::Post : Net::HTTP::Get).new(uri, PLAIN)
          request["Origin"] = origin if origin
          if body
            request.body = body
            request.content_type = "text/plain;charset=UTF-8"
          end
          request
        end
      end

      # @param url [String]
      # @param body [String] JSON
      # @param bearer [String, nil] the token for `Authorization`
      # @param timeout [Numeric] seconds for the request with its response
      # @return [Net::HTTPResponse]
      # @raise [Failed]
      def post(url, body, bearer, timeout: TIMEOUT)
        send_request(url, timeout) do |uri|
          request = Net::HTTP::Post.new(uri, PLAIN)
          request.body = body
          request.content_type = "application/json"
          request["Authorization"] = "Bearer #{bearer}" if bearer
          request
        end
      end

      private

      def send_request(url, timeout = TIMEOUT)
        uri = URI(url)
        Timeout.timeout(timeout) do
          Connection.start(uri.host, uri.port, use_ssl: uri.scheme == "https", open_timeout: timeout,
                                               read_timeout: timeout, max_retries: 0) do |http|
            http.request(yield(uri))
          end
        end
      rescue Timeout::Error
        raise Failed, "no response within #{timeout} s"
      rescue Failed
        raise
      rescue StandardError => e
        # Net::HTTP raises errors of many classes for what is not HTTP.
        raise Failed, e.message
      end
    end
  end
end
