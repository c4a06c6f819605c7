# frozen_string_literal: true

require "securerandom"

module E2E
  # The demo as bin/demo runs it, on free ports with its own database: the NoDevent server and the Rails application.
  # Without Redis, the gem publishes over HTTP and the server uses its memory engine.
  class Board
    DIR = File.join(ROOT, "demo")
    BOOT = 180 # seconds: Rails starts slowly on a busy machine

    attr_reader :env, :port, :server

    def initialize(redis: nil)
      FileUtils.mkdir_p(TMP)
      @port = Program.free_port
      @database = File.join(TMP, "board-#{port}.sqlite3")
      @env = settings(redis)
      @server = Server.new(env)
      prepare
      start
    end

    def url
      "http://localhost:#{port}"
    end

    # Runs Ruby in another process of the application, as a console or a job would.
    def run(ruby)
      finished = Program.new("runner", "bundle", "exec", "rails", "runner", ruby, env: env, dir: DIR)
      raise "the runner failed:\n#{finished.output}" unless finished.status(within: BOOT).success?
    ensure
      finished&.stop
    end

    def stop
      @rails&.stop
      server.stop
      FileUtils.rm_f(Dir["#{@database}*"])
    end

    private

    def settings(redis)
      {
        "RAILS_ENV" => "test", "BUNDLE_GEMFILE" => File.join(DIR, "Gemfile"), "BUNDLE_SILENCE_ROOT_WARNING" => "1",
        "DEMO_DATABASE" => @database, "DEMO_LOGS" => TMP, "SECRET_KEY_BASE" => SecureRandom.hex(32),
        "NODEVENT_PORT" => Program.free_port.to_s, "NODEVENT_SECRET" => SecureRandom.hex(32),
        "NODEVENT_TOKEN_SECRET" => SecureRandom.hex(32), "NODEVENT_PUBLISH_KEY" => SecureRandom.hex(16),
        "NODEVENT_HOOKS_SECRET" => SecureRandom.hex(32), "BOARD_PORT" => port.to_s,
        "DEMO_GRACE" => "4s", # shorter, because examples wait for it
        "REDIS_URL" => redis&.url, "NODEVENT_ENV" => redis ? "production" : "test"
      }
    end

    def prepare
      prepared = Program.new("prepare", "bundle", "exec", "rake", "db:migrate", "db:seed", env: env, dir: DIR)
      raise "the database was not prepared:\n#{prepared.output}" unless prepared.status(within: BOOT).success?
    ensure
      prepared&.stop
    end

    def start
      @rails = Program.new("rails", "bundle", "exec", "puma", "-C", "config/puma.rb", "-b", "tcp://127.0.0.1:#{port}", env: env, dir: DIR)
      @rails.ready("the application answers", within: BOOT) { answers? }
    end

    def answers?
      Net::HTTP.get_response("127.0.0.1", "/", port).is_a?(Net::HTTPOK)
    rescue SystemCallError
      false
    end
  end
end

RSpec.shared_context "with a board on the memory engine" do
  before(:context) { @board = E2E::Board.new }
  after(:context) { @board.stop }
  let(:board) { @board }
end

RSpec.shared_context "with a board on Redis" do
  before(:context) do
    @redis = E2E::Redis.new
    @board = E2E::Board.new(redis: @redis)
  end

  after(:context) do
    @board.stop
    @redis.stop
  end

  let(:board) { @board }
end
