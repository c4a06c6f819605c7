# frozen_string_literal: true

# Socket.IO on Node, published to by a line over TCP, the cheapest way.
class SocketIo < Bench::Server
  def name
    "socket_io"
  end

  def title
    "Socket.IO on Node"
  end

  def install
    "bench/peers/socket_io/install"
  end

  def ready?
    Dir.exist?(File.join(__dir__, "node_modules/socket.io"))
  end

  def command(place)
    ["node", File.join(__dir__, "server.js"), place.port.to_s, place.publish_port.to_s]
  end

  def load(place)
    speaks("socket-io", place, "lines://127.0.0.1:#{place.publish_port}")
  end
end
