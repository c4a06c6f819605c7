# frozen_string_literal: true

# Action Cable on Puma with five threads, published to through its Redis, as a broadcast is.
class ActionCable < Bench::Server
  def name
    "action_cable"
  end

  def title
    "Action Cable on Puma"
  end

  def install
    "bench/peers/action_cable/install"
  end

  def ready?
    %w[actioncable puma redis].all? { |gem| Gem::Specification.find_all_by_name(gem).any? }
  end

  def redis?
    true
  end

  def environment(place)
    { "RAILS_ENV" => "production", "REDIS_URL" => "redis://127.0.0.1:#{place.redis_port}" }
  end

  def command(place)
    ["puma", "-q", "-b", "tcp://127.0.0.1:#{place.port}", "-t", "5:5", File.join(__dir__, "config.ru")]
  end

  def load(place)
    speaks("action-cable", place, "redis-rooms://127.0.0.1:#{place.redis_port}")
  end
end
