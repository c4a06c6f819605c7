# frozen_string_literal: true

require "socket"

# A client of Server-Sent Events.
class EventStream
  def initialize(server, namespace)
    @socket = TCPSocket.new("127.0.0.1", server.port)
    @socket.write("GET /api#{namespace}/rooms/r/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    line("event: joined")
  end

  # The next publication.
  def next
    line("\"message\":")
  end

  def stop
    @socket.close
  end

  private

  def line(part)
    Timeout.timeout(Waiting::LIMIT) do
      loop do
        text = @socket.gets or raise "the stream has ended"
        return text if text.include?(part)
      end
    end
  end
end
