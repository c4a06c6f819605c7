# frozen_string_literal: true

require "json"
require "socket"

module Bench
  # The application that a server notifies: it accepts every request, and counts the events in it.
  class Application
    SECRET = "a-secret-for-the-hooks-of-the-benchmark"
    # Time without a request after which all have arrived. Seconds.
    QUIET = 2

    attr_reader :events

    def initialize
      @events = 0
      @last = now
      @server = TCPServer.new("127.0.0.1", 0)
      @thread = Thread.new { loop { serve(@server.accept) } }
    end

    def url
      "http://127.0.0.1:#{@server.addr[1]}/nodevent/hooks"
    end

    # Waits until no more requests arrive. Returns the number of events.
    def settled
      sleep 0.1 until now - @last > QUIET
      events
    end

    def stop
      @thread.kill
      @server.close
    end

    private

    def serve(socket)
      length = 0
      while (line = socket.gets.to_s.chomp) != ""
        length = line.split(":", 2).last.to_i if line.match?(/\Acontent-length:/i)
      end
      @events += JSON.parse(socket.read(length)).fetch("events").size if length.positive?
      @last = now
      socket.write("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    rescue SystemCallError, IOError, JSON::ParserError
      nil # the server sends the events again
    ensure
      socket.close
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
