# frozen_string_literal: true

require "socket"

# Ports that nobody uses.
module Ports
  def self.free
    server = TCPServer.new("127.0.0.1", 0)
    server.addr[1]
  ensure
    server&.close
  end
end
