# frozen_string_literal: true

require "openssl"
require "socket"

module NoDevent
  module Cable
    # Opens connections to the server, encrypted if its address says so.
    # @api private
    module Dial
      # Seconds.
      TIMEOUT = 5

      private_constant :TIMEOUT

      class << self
        # @param uri [URI] with the scheme `ws` or `wss`
        # @return [IO, OpenSSL::SSL::SSLSocket]
        # @raise [SystemCallError, SocketError, OpenSSL::SSL::SSLError]
        def open(uri)
          secure = uri.scheme == "wss"
          socket = Socket.tcp(uri.host, uri.port || (secure ? 443 : 80), connect_timeout: TIMEOUT)
          socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
          secure ? encrypted(socket, uri.host) : socket
        end

        private

        def encrypted(socket, host)
          context = OpenSSL::SSL::SSLContext.new
          context.set_params
          io = OpenSSL::SSL::SSLSocket.new(socket, context)
          io.sync_close = true
          io.hostname = host
          io.connect
          io.post_connection_check(host)
          io
        end
      end
    end
  end
end
