# frozen_string_literal: true

module NoDevent
  module Handover
    # The response of the server to a single request, for Rack. Its body is read while Rack sends it.
    # @api private
    class Response
      # The largest head.
      #
      # # Units
      # Bytes.
      MAX_HEAD = 64 * 1024
      # Bytes that are read at a time.
      CHUNK = 16 * 1024
      # The time in which a part must arrive, or be accepted.
      #
      # # Units
      # Seconds.
      TIMEOUT = 30
      # Headers of the connection between this process and the server.
      OWN = %w[connection keep-alive transfer-encoding].freeze

      private_constant :MAX_HEAD, :CHUNK, :TIMEOUT, :OWN

      # @param socket [UNIXSocket] its end is the end of the response
      def initialize(socket)
        @socket = socket
        @rest = +"".b
      end

      # Sends the body of the request. A server that does not want it responds before its end.
      # @param input [#read, nil]
      # @param length [Integer]
      # @raise [Unavailable]
      def send_body(input, length)
        while length.positive? && (chunk = input.read([CHUNK, length].min))
          length -= chunk.bytesize
          write(chunk)
        end
      rescue Errno::EPIPE, Errno::ECONNRESET
        nil
      end

      # @return [Array] Rack's response
      # @raise [Unavailable]
      def to_rack
        until (head_end = @rest.index("\r\n\r\n"))
          raise Unavailable, "the server ended its response" if @rest.bytesize > MAX_HEAD || !(chunk = read)

          @rest << chunk
        end
        head = @rest.slice!(0, head_end + 4).split("\r\n")
        status = head.shift[%r{\AHTTP/1\.[01] (\d{3})}, 1] or raise Unavailable, "the server did not respond with HTTP"
        headers = headers(head)
        @length = headers["content-length"]&.to_i
        [status.to_i, headers, self]
      end

      # @yieldparam chunk [String]
      def each
        sent = @rest.bytesize
        yield @rest unless @rest.empty?
        while (chunk = read)
          sent += chunk.bytesize
          yield chunk
        end
        # A part must not look like the whole.
        raise Unavailable, "the server ended its response" if @length && sent < @length && !@bodiless
      ensure
        close
      end

      # For a request whose response has no body.
      def bodiless
        @bodiless = true
        self
      end

      def close
        @socket.close
      end

      private

      def headers(lines)
        lines.each_with_object({}) do |line, headers|
          name, value = line.split(/: ?/, 2)
          name = name.downcase
          next if OWN.include?(name)

          headers[name] = headers.key?(name) ? "#{headers[name]}, #{value}" : value.to_s
        end
      end

      def read
        loop do
          chunk = @socket.read_nonblock(CHUNK, exception: false)
          return chunk unless chunk == :wait_readable

          raise Unavailable, "no response within #{TIMEOUT} s" unless @socket.wait_readable(TIMEOUT)
        end
      rescue Errno::ECONNRESET
        nil
      end

      def write(chunk)
        until chunk.empty?
          written = @socket.write_nonblock(chunk, exception: false)
          if written == :wait_writable
            raise Unavailable, "the request was not read within #{TIMEOUT} s" unless @socket.wait_writable(TIMEOUT)
          else
            chunk = chunk.byteslice(written..)
          end
        end
      end
    end
  end
end
