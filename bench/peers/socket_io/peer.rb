# frozen_string_literal: true

# Socket.IO on Node, with publications as lines over TCP, which is the cheapest way.
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

  def command(workspace)
    ["node", File.join(__dir__, "server.js"), workspace.port.to_s, workspace.publish_port.to_s]
  end

  def load(workspace)
    load_arguments("socket-io", workspace, "lines://127.0.0.1:#{workspace.publish_port}")
  end
end
