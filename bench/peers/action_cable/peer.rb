# frozen_string_literal: true

# Action Cable on Puma with five threads, with publications through its Redis, like broadcasts.
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

  def environment(workspace)
    { "RAILS_ENV" => "production", "REDIS_URL" => "redis://127.0.0.1:#{workspace.redis_port}" }
  end

  def command(workspace)
    ["puma", "-q", "-b", "tcp://127.0.0.1:#{workspace.port}", "-t", "5:5", File.join(__dir__, "config.ru")]
  end

  def load(workspace)
    load_arguments("action-cable", workspace, "redis-rooms://127.0.0.1:#{workspace.redis_port}")
  end
end
