# frozen_string_literal: true

# The cost of the kernel alone, as the reference for the others.
class Bare < Bench::Server
  BINARY = File.join(Bench::TMP, "bare/release/bare")

  def name
    "bare"
  end

  def title
    "bare write() loop"
  end

  def install
    "bench/peers/bare/install"
  end

  def ready?
    File.exist?(BINARY)
  end

  def takes_part_in?(scenario)
    scenario.bare
  end

  def command(workspace)
    [BINARY, workspace.port.to_s, workspace.publish_port.to_s]
  end

  def load(workspace)
    load_arguments("bare", workspace, "lines://127.0.0.1:#{workspace.publish_port}")
  end
end
