# frozen_string_literal: true

require "cgi"
require "json"
require "nodevent/http_request"

module NoDevent
  module Doctor
    # A minimal browser client: Socket.IO 5 over Engine.IO 4 long-polling. The server may be any program: each response
    # that is not Socket.IO raises {Refused}.
    class PollingClient
      # The server refused, or its response is not Socket.IO.
      class Refused < HttpRequest::Failed; end

      # The server does not admit the connection to the namespace.
      class NotAdmitted < Refused; end

      SEPARATOR = "\x1e"
      # The timeout of one request in seconds.
      TIMEOUT = HttpRequest::TIMEOUT
      # The maximum length of a session id.
      MAX_ID = 200

      private_constant :SEPARATOR, :MAX_ID

      # @param url [String] the server
      # @param namespace [String]
      # @param origin [String, nil] the origin to send
      # @param token [String, nil] the token to send
      # @raise [Refused]
      def initialize(url, namespace, origin: nil, token: nil)
        @url = "#{url}/socket.io/?EIO=4&transport=polling"
        @namespace = namespace
        @origin = origin
        @token = token
        @packets = []
        @acks = 0
        open
      end

      # @return [Array(String, Object)] the server's acknowledgement: error, or nil, and success
      # @raise [Refused]
      def join(room, key = nil)
        @acks += 1
        send_packet("42#{@namespace},#{@acks}#{JSON.generate(['join', { room: room, key: key }.compact])}")
        error, success = parse(wait_for("43#{@namespace},#{@acks}", "the reply to join"), Array)
        [error && Text.clean(error), success]
      end

      # @return [Hash] the next publication
      # @raise [Refused] if none arrives before the timeout
      def publication
        arguments = parse(wait_for("42#{@namespace},", "the publication"), Array)
        arguments.last.is_a?(Hash) ? arguments.last : alien!
      end

      # Disconnects.
      def close
        send_packet("1")
      rescue Refused
        nil
      end

      private

      def open
        id = parse(receive.first.to_s.delete_prefix("0"), Hash)["sid"]
        alien! unless id.is_a?(String) && id.size.between?(1, MAX_ID)
        @url += "&sid=#{CGI.escape(id)}"
        send_packet("40#{@namespace},#{JSON.generate(token: @token) if @token}")
        packet = wait_for(%w[40 44].map { |type| "#{type}#{@namespace}," }, "the namespace")
        error = parse(packet, Hash)["message"]
        raise NotAdmitted, Text.clean(error, 200) if error
      end

      def parse(text, kind)
        value = JSON.parse(text)
        value.is_a?(kind) ? value : alien!
      rescue JSON::ParserError
        alien!
      end

      def alien!
        raise Refused, "the response is not Socket.IO"
      end

      # Returns the remainder of the first packet with one of these prefixes.
      def wait_for(prefixes, what)
        deadline = clock + TIMEOUT
        loop do
          while (packet = @packets.shift)
            prefix = Array(prefixes).find { |text| packet.start_with?(text) }
            return packet.delete_prefix(prefix) if prefix
          end
          raise Refused, "#{what} did not arrive within #{TIMEOUT} s" if clock > deadline

          @packets = receive
        end
      end

      def receive
        packets = request.split(SEPARATOR)
        send_packet("3") if packets.delete("2")
        packets
      end

      def send_packet(packet)
        request(packet)
      end

      def request(packet = nil)
        response = HttpRequest.from_page(@url, body: packet, origin: @origin)
        body = response.body.to_s.dup.force_encoding(Encoding::UTF_8)
        return body.scrub if response.is_a?(Net::HTTPSuccess)

        raise Refused, "#{response.code}: #{Text.clean(body, 200)}"
      rescue Refused
        raise
      rescue HttpRequest::Failed => e
        raise Refused, e.message
      end

      def clock
        Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end
    end
  end
end
