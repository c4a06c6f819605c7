# frozen_string_literal: true

require "json"
require "net/http"
require "uri"

module NoDevent
  module Doctor
    # A minimal browser client: Socket.IO 5 over Engine.IO 4 long-polling.
    class PollingClient
      # The server refused, or its response is not Socket.IO.
      class Refused < StandardError; end

      SEPARATOR = "\x1e"
      # The timeout of one request in seconds.
      TIMEOUT = 5

      private_constant :SEPARATOR

      # @param url [String] the server
      # @param namespace [String]
      # @param origin [String, nil] the origin to send
      # @raise [Refused]
      def initialize(url, namespace, origin: nil)
        @uri = URI("#{url}/socket.io/?EIO=4&transport=polling")
        @namespace = namespace
        @origin = origin
        @packets = []
        @acks = 0
        open
      end

      # @return [Array] the server's acknowledgement: error and success
      # @raise [Refused]
      def join(room, key = nil)
        @acks += 1
        send_packet("42#{@namespace},#{@acks}#{JSON.generate(['join', { room: room, key: key }.compact])}")
        JSON.parse(wait_for("43#{@namespace},#{@acks}", "the reply to join")).first(2)
      end

      # @return [Hash] the next publication
      # @raise [Refused] if none arrives before the timeout
      def publication
        JSON.parse(wait_for("42#{@namespace},", "the publication")).last
      end

      # Disconnects.
      def close
        send_packet("1")
      rescue Refused, SystemCallError
        nil
      end

      private

      def open
        handshake = receive.first
        @uri.query += "&sid=#{JSON.parse(handshake.delete_prefix('0')).fetch('sid')}"
        send_packet("40#{@namespace},")
        packet = wait_for(%w[40 44].map { |type| "#{type}#{@namespace}," }, "the namespace")
        error = JSON.parse(packet)["message"]
        raise Refused, error if error
      rescue JSON::ParserError, KeyError
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
        packets = request(Net::HTTP::Get.new(@uri)).split(SEPARATOR)
        send_packet("3") if packets.delete("2")
        packets
      end

      def send_packet(packet)
        post = Net::HTTP::Post.new(@uri)
        post.body = packet
        post.content_type = "text/plain;charset=UTF-8"
        request(post)
      end

      def request(request)
        request["Origin"] = @origin if @origin
        response = Net::HTTP.start(@uri.host, @uri.port, use_ssl: @uri.scheme == "https", open_timeout: TIMEOUT,
                                                         read_timeout: TIMEOUT, max_retries: 0) do |http|
          http.request(request)
        end
        return response.body.dup.force_encoding(Encoding::UTF_8) if response.is_a?(Net::HTTPSuccess)

        raise Refused, "#{response.code}: #{response.body.to_s[0, 200]}"
      rescue Net::ReadTimeout
        raise Refused, "no response within #{TIMEOUT} s"
      end

      def clock
        Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end
    end
  end
end
