# frozen_string_literal: true

require "base64"
require "json"
require "securerandom"
require "socket"

# A WebSocket as a browser has one, without its policies: the handshake, masked texts, and replies to pings.
class WebSocket
  # The response to the handshake is another than 101.
  class Refused < StandardError; end

  # @param headers [Hash{String => String}] more headers of the handshake, such as the cookies
  # @param early [String] sent with the handshake, without waiting for its response
  def initialize(port, path, headers = {}, early: nil)
    @socket = port.is_a?(String) ? UNIXSocket.new(port) : TCPSocket.new("127.0.0.1", port)
    @socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1) if @socket.is_a?(TCPSocket)
    host = port.is_a?(String) ? "localhost" : "127.0.0.1:#{port}"
    lines = { "Host" => host, "Connection" => "Upgrade", "Upgrade" => "websocket",
              "Sec-WebSocket-Version" => "13", "Sec-WebSocket-Key" => Base64.strict_encode64(SecureRandom.bytes(16)) }
    lines = lines.merge(headers).map { |pair| "#{pair.join(': ')}\r\n" }
    @socket.write("GET #{path} HTTP/1.1\r\n#{lines.join}\r\n#{early && masked(1, early)}")
    @buffer = +"".b
    handshake
  end

  # Sends an object as JSON, or a text.
  def send(message)
    write(1, message.is_a?(String) ? message : JSON.generate(message))
  end

  # Sends a message and returns its reply. Frames of channels that arrive before it stay in order.
  def call(message)
    send(message)
    skipped = []
    loop do
      frame = receive
      return frame if frame.key?("id") && frame["id"] == message[:id]

      skipped << frame
    end
  ensure
    @skipped = (@skipped || []) + skipped
  end

  # The next frame, parsed; raises after the timeout.
  def receive(limit = Waiting::LIMIT * 3)
    return @skipped.shift if @skipped&.any?

    JSON.parse(text(Waiting.now + limit))
  end

  # The next text.
  def next_text
    text(Waiting.now + (Waiting::LIMIT * 3))
  end

  # Whether nothing arrives before the reply to a message that is sent now.
  def silent?
    call(id: "silence", action: "ping")
    @skipped.empty?
  end

  # Sends a ping of the WebSocket, and returns the text of its pong.
  def ping(text)
    write(9, text)
    deadline = Waiting.now + (Waiting::LIMIT * 3)
    loop do
      code, payload = frame(deadline)
      return payload if code == 10
    end
  end

  # Sends a text in two frames, with a pong between them.
  def send_in_parts(text)
    half = text.bytesize / 2
    write(1, text.byteslice(0, half), final: false)
    write(10, "")
    write(0, text.byteslice(half..))
  end

  # Ends it as a browser does.
  def close
    write(8, [1000].pack("n"))
    loop { frame(Waiting.now + Waiting::LIMIT) }
  rescue IOError, SystemCallError
    nil
  ensure
    @socket.close
  end

  # Ends it as a browser that is killed, without a close frame.
  def drop
    @socket.setsockopt(Socket::SOL_SOCKET, Socket::SO_LINGER, [1, 0].pack("ii"))
    @socket.close
  end

  private

  def handshake
    deadline = Waiting.now + (Waiting::LIMIT * 3)
    read_more(deadline) until @buffer.include?("\r\n\r\n")
    head = @buffer.slice!(0, @buffer.index("\r\n\r\n") + 4)
    return if head.start_with?("HTTP/1.1 101")

    @socket.close
    raise Refused, head[/\AHTTP\S+ (\d+)/, 1]
  end

  def text(deadline)
    loop do
      code, payload = frame(deadline)
      case code
      when 1 then return payload.force_encoding(Encoding::UTF_8)
      when 9 then write(10, payload)
      when 8 then raise EOFError, "the server has closed the socket"
      end
    end
  end

  # The server does not mask its frames, and does not fragment them.
  def frame(deadline)
    read_more(deadline) while @buffer.bytesize < 2
    length = @buffer.getbyte(1) & 127
    extra = { 126 => 2, 127 => 8 }.fetch(length, 0)
    read_more(deadline) while @buffer.bytesize < 2 + extra
    length = @buffer.byteslice(2, extra).unpack1(extra == 2 ? "n" : "Q>") if extra.positive?
    read_more(deadline) while @buffer.bytesize < 2 + extra + length
    code = @buffer.getbyte(0) & 15
    [code, @buffer.slice!(0, 2 + extra + length).byteslice(2 + extra, length)]
  end

  def read_more(deadline)
    remaining = deadline - Waiting.now
    raise "nothing arrived on the socket" unless remaining.positive? && @socket.wait_readable(remaining)

    @buffer << @socket.readpartial(65_536)
  end

  def write(code, payload, final: true)
    @socket.write(masked(code, payload, final: final))
  end

  def masked(code, payload, final: true)
    mask = SecureRandom.bytes(4)
    size = payload.bytesize
    head = [(final ? 0x80 : 0) | code].pack("C")
    head << case size
            when 0..125 then [0x80 | size].pack("C")
            when 126..65_535 then [0x80 | 126, size].pack("Cn")
            else [0x80 | 127, size].pack("CQ>")
            end
    key = mask.bytes
    masked = payload.b.bytes.each_with_index.map { |byte, index| byte ^ key[index % 4] }
    head + mask + masked.pack("C*")
  end
end
