# frozen_string_literal: true

# The kernel's price: the scale on which the others are read.
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

  def command(place)
    [BINARY, place.port.to_s, place.publish_port.to_s]
  end

  def load(place)
    speaks("bare", place, "lines://127.0.0.1:#{place.publish_port}")
  end
end
