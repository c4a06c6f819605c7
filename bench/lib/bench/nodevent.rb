# frozen_string_literal: true

require "json"

# Who is measured: ourselves, in two forms.
module Bench
  # Our server, release build, with a secret and with history on, as it is by default. Published to as the gem does.
  class Nodevent < Server
    SECRET = "a-secret-for-the-benchmark-only"
    BINARY = File.join(ROOT, "target/release/nodevent")

    def install
      "cargo build --release -p nodevent-server"
    end

    def ready?
      File.exist?(BINARY)
    end

    def command(_place)
      [BINARY, "serve", "nodevent.json"]
    end

    def files(place)
      { "nodevent.json" => JSON.generate(bind: "127.0.0.1", port: place.port, "/nodevent": namespace(place)) }
    end

    # @return [Array<Array<String>>] what a program in Ruby is told about it, once for each time it is to run
    def arguments(scenario, place)
      redis = place.redis_port && "redis://127.0.0.1:#{place.redis_port}"
      return [[redis], [redis, "--rails"]] if scenario.name == "emit"

      [["http://127.0.0.1:#{place.port}", SECRET, redis].compact]
    end

    def load(place)
      [*speaks("socket-io", place, publish(place)), "--secret", SECRET]
    end
  end
  Server.all.delete(Nodevent)

  # With everything in one process.
  class NodeventMemory < Nodevent
    def name
      "nodevent-memory"
    end

    def title
      "NoDevent, memory engine"
    end

    def namespace(_place)
      { secret: SECRET }
    end

    def publish(place)
      "http://127.0.0.1:#{place.port}/api/nodevent/emit"
    end
  end

  # With Redis, which gives each emission its position and keeps it.
  class NodeventRedis < Nodevent
    def name
      "nodevent-redis"
    end

    def title
      "NoDevent, Redis engine"
    end

    def redis?
      true
    end

    def namespace(place)
      { secret: SECRET, redis: { host: "127.0.0.1", port: place.redis_port } }
    end

    def publish(place)
      "redis-kept://127.0.0.1:#{place.redis_port}/nodevent"
    end
  end
end
