# frozen_string_literal: true

require "socket"

# Free ports.
module Ports
  def self.free
    server = TCPServer.new("127.0.0.1", 0)
    server.addr[1]
  ensure
    server&.close
  end

  # A port for a node of a Redis Cluster, whose bus uses the port 10,000 above; before Redis 7 it cannot be configured.
  def self.free_with_bus
    loop do
      port = free
      return port if port <= 55_535 && free?(port + 10_000)
    end
  end

  def self.free?(port)
    TCPServer.new("127.0.0.1", port).close
    true
  rescue SystemCallError
    false
  end
end
