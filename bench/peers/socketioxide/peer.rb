# frozen_string_literal: true

# socketioxide, with publications as lines over TCP, which is the cheapest way.
class Socketioxide < Bench::Server
  BINARY = File.join(Bench::TMP, "socketioxide/release/oxide")

  def name
    "socketioxide"
  end

  def title
    "socketioxide"
  end

  def install
    "bench/peers/socketioxide/install"
  end

  def ready?
    File.exist?(BINARY)
  end

  def command(workspace)
    [BINARY, workspace.port.to_s, workspace.publish_port.to_s]
  end

  def load(workspace)
    load_arguments("socket-io", workspace, "lines://127.0.0.1:#{workspace.publish_port}")
  end
end
