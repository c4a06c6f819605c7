# frozen_string_literal: true

require "json"
require "socket"

# An HTTP server with scripted responses, for errors that a real server rarely returns.
class StubServer
  Request = Struct.new(:path, :headers, :body, keyword_init: true) do
    def json
      JSON.parse(body)
    end
  end

  attr_reader :port, :requests

  # @yield [Request] returns `[status, body]`, or nil to close the connection
  def initialize(&respond)
    @respond = respond
    @requests = Queue.new
    @server = TCPServer.new("127.0.0.1", 0)
    @port = @server.addr[1]
    @thread = Thread.new { loop { serve(@server.accept) } }
  end

  def url
    "http://127.0.0.1:#{port}"
  end

  def next
    Timeout.timeout(Waiting::LIMIT) { @requests.pop }
  end

  def stop
    @thread.kill
    @server.close
  end

  private

  def serve(socket)
    line = socket.gets or return
    headers = {}
    while (header = socket.gets.chomp) != ""
      name, value = header.split(": ", 2)
      headers[name.downcase] = value
    end
    request = Request.new(path: line.split[1], headers: headers, body: socket.read(headers["content-length"].to_i))
    @requests << request
    status, body = @respond.call(request)
    return unless status

    socket.write("HTTP/1.1 #{status} -\r\nContent-Length: #{body.bytesize}\r\nConnection: close\r\n\r\n#{body}")
  ensure
    socket.close
  end
end
