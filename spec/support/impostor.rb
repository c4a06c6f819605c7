# frozen_string_literal: true

require "socket"

# A program that is not our server, on a port where the gem expects it. Keeps all that it receives.
class Impostor
  attr_reader :port

  # @yield [String, TCPSocket] the head of a request, with its body, and the connection to write the response to
  def initialize(&respond)
    @respond = respond
    @received = +""
    @lock = Mutex.new
    @server = TCPServer.new("127.0.0.1", 0)
    @port = @server.addr[1]
    @thread = Thread.new { loop { serve(@server.accept) } }
  end

  def url
    "http://127.0.0.1:#{port}"
  end

  # All requests so far.
  def received
    @lock.synchronize { @received.dup }
  end

  def stop
    @thread.kill
    @server.close
  end

  # A response that is not streamed.
  def self.reply(status, body = "", headers = {})
    lines = { "Content-Length" => body.bytesize, "Connection" => "close" }.merge(headers).map { |pair| pair.join(": ") }
    "HTTP/1.1 #{status} -\r\n#{lines.join("\r\n")}\r\n\r\n#{body}"
  end

  private

  def serve(socket)
    Thread.new do
      Thread.current.report_on_exception = false
      head = socket.readpartial(65_536)
      head << socket.readpartial(65_536) until head.include?("\r\n\r\n")
      left = head[/^content-length: (\d+)/i, 1].to_i - head.split("\r\n\r\n", 2).last.bytesize
      head << socket.read(left) if left.positive?
      @lock.synchronize { @received << head }
      @respond.call(head, socket)
    rescue IOError, SystemCallError
      nil
    ensure
      socket.close
    end
  end
end
