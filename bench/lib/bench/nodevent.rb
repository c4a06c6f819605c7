# frozen_string_literal: true

require "digest"
require "json"

# Our server, in two forms.
module Bench
  # Our server as a release build, with a secret and with history, as by default. Publications come as from the gem.
  #
  # A baseline is another build of it, which a run with `--baseline` measures in turn with the present one.
  class Nodevent < Server
    SECRET = "a-secret-for-the-benchmark-only"
    TOKEN_SECRET = "a-secret-of-thirty-two-bytes-or-more"
    BINARY = File.join(ROOT, "target/release/nodevent")
    # Configuration names of the first round, which a baseline reads, by their present names.
    FIRST_ROUND_NAMES = {
      bind: :host, drain_timeout: :drain, max_message_size: :message, max_publish_size: :publish,
      max_room_name: :room_name, max_rooms_per_connection: :rooms, max_connections: :connections, send_buffer: :outbox,
      request_timeout: :handshake, connect_timeout: :connect, write_timeout: :write_stall, max_memory: :memory,
      max_key_lifetime: :key_lifetime
    }.freeze

    # Identifies a build in kept results, without its path.
    def self.describe(binary)
      commit = IO.popen(["git", "-C", File.dirname(binary), "rev-parse", "--short", "HEAD"], err: File::NULL, &:read)
      { sha256: Digest::SHA256.file(binary).hexdigest[0, 12], commit: commit.strip }.reject { |_, text| text.empty? }
    end

    # @return [Array<Nodevent>] the other build with both engines
    def self.baselines(binary)
      raise Error, "--baseline: #{binary} is not an executable file" unless File.executable?(binary)

      [NodeventMemory, NodeventRedis].map { |kind| kind.new(binary) }
    end

    # @param baseline [String, nil] path of another build
    def initialize(baseline = nil)
      super()
      @baseline = baseline
    end

    # @!method engine
    #   @return [String] "memory" or "redis"

    def baseline?
      !@baseline.nil?
    end

    def name
      "#{baseline? ? 'baseline' : 'nodevent'}-#{engine}"
    end

    # The name of the present build with the same engine.
    def counterpart
      "nodevent-#{engine}"
    end

    def title
      "#{baseline? ? 'Baseline' : 'NoDevent'}, #{engine.sub('redis', 'Redis')} engine"
    end

    def install
      "cargo build --release -p nodevent-server"
    end

    def binary
      @baseline || BINARY
    end

    def ready?
      File.executable?(binary)
    end

    # Ruby programs measure the gem of this checkout, so a baseline takes no part in them. A baseline may have no users.
    def takes_part_in?(scenario)
      return false if baseline? && (scenario.program || scenario.settings)

      scenario.only.nil? || scenario.only.include?(counterpart)
    end

    def command(_workspace)
      [binary, "serve", "nodevent.json"]
    end

    def files(workspace)
      ours = namespace(workspace).merge(workspace.scenario.settings.to_h)
      settings = { bind: "127.0.0.1", port: workspace.port, "/nodevent": ours }
      return { "nodevent.json" => JSON.generate(first_round(settings)) } if baseline?

      { "nodevent.json" => JSON.generate(settings.merge(publish: "local")) }
    end

    # @return [Array<Array<String>>] the arguments of a Ruby program, once for each of its runs
    def arguments(scenario, workspace)
      redis = workspace.redis_port && "redis://127.0.0.1:#{workspace.redis_port}"
      return [[redis], [redis, "--rails"]] if scenario.name == "emit"

      [["http://127.0.0.1:#{workspace.port}", SECRET, redis].compact]
    end

    def load(workspace)
      settings = workspace.scenario.settings.to_h
      route = settings[:mailbox] ? "notify://127.0.0.1:#{workspace.port}/api/nodevent/notify" : publish(workspace)
      token = settings[:token] ? ["--token-secret", TOKEN_SECRET] : []
      [*load_arguments("socket-io", workspace, route), "--secret", SECRET, *token]
    end

    private

    def first_round(settings)
      return settings unless settings.is_a?(Hash)

      settings.to_h { |name, value| [FIRST_ROUND_NAMES.fetch(name, name), first_round(value)] }
    end
  end
  Server.all.delete(Nodevent)

  # The server with its memory engine.
  class NodeventMemory < Nodevent
    def engine
      "memory"
    end

    def namespace(_workspace)
      { secret: SECRET }
    end

    def publish(workspace)
      "http://127.0.0.1:#{workspace.port}/api/nodevent/emit"
    end
  end

  # The server with its Redis engine, which assigns each publication its position and keeps it.
  class NodeventRedis < Nodevent
    def engine
      "redis"
    end

    def redis?
      true
    end

    def namespace(workspace)
      { secret: SECRET, redis: { host: "127.0.0.1", port: workspace.redis_port } }
    end

    def publish(workspace)
      "redis-history://127.0.0.1:#{workspace.redis_port}/nodevent"
    end
  end

  # The same server for clients of Action Cable: the same load in its frames.
  module ForActionCable
    SCENARIOS = %w[steady burst flood idle connect identifiers].freeze

    def name
      "cable-#{engine}"
    end

    def title
      "#{super}, Action Cable"
    end

    def takes_part_in?(scenario)
      SCENARIOS.include?(scenario.name)
    end

    def namespace(workspace)
      super.except(:secret).merge(protocol: "action_cable", action_cable: { signed_stream_key: Nodevent::SECRET })
    end

    def load(workspace)
      [*load_arguments("turbo", workspace, publish(workspace)), "--secret", Nodevent::SECRET]
    end
  end

  # The server with its memory engine, for clients of Action Cable.
  class CableMemory < NodeventMemory
    prepend ForActionCable
  end

  # The server with its Redis engine, for clients of Action Cable.
  class CableRedis < NodeventRedis
    prepend ForActionCable
  end

  # The same server with a hook `delivered` for every publication, in the scenario that compares both.
  module WithHook
    def name
      "hooks-#{engine}"
    end

    def title
      "#{super}, with a hook"
    end

    def takes_part_in?(scenario)
      scenario.name == "hooks"
    end

    def namespace(workspace)
      super.merge(hooks: { url: @application.url, secret: Application::SECRET, delivered: "update" })
    end

    def run(scenario)
      @application = Application.new
      super do |*arguments|
        result = yield(*arguments)
        result[:report][:hooks] = { events: @application.settled } if result[:report]
        result
      end
    ensure
      @application&.stop
    end
  end

  # The server with its memory engine and a hook.
  class HooksMemory < NodeventMemory
    prepend WithHook
  end

  # The server with its Redis engine and a hook.
  class HooksRedis < NodeventRedis
    prepend WithHook
  end

  # The server with its memory engine and a store, which has each publication on disk before it is delivered.
  class StoreMemory < NodeventMemory
    SCENARIOS = %w[steady burst flood rooms idle connect many-rooms].freeze

    def name
      "store-memory"
    end

    def title
      "#{super}, with a store"
    end

    def takes_part_in?(scenario)
      SCENARIOS.include?(scenario.name)
    end

    # The store of an earlier round is removed, so that each round starts with an empty one.
    def files(workspace)
      FileUtils.rm_rf(File.join(workspace.folder, "store"))
      super.transform_values { |text| JSON.generate(JSON.parse(text).merge(store: "store")) }
    end
  end
end
