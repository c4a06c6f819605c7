# frozen_string_literal: true

# socketioxide, published to by a line over TCP, the cheapest way.
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

  def command(place)
    [BINARY, place.port.to_s, place.publish_port.to_s]
  end

  def load(place)
    speaks("socket-io", place, "lines://127.0.0.1:#{place.publish_port}")
  end
end
