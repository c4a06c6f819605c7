# frozen_string_literal: true

module E2E
  # A Redis without persistence. The environment can select another version, or Valkey.
  class Redis
    attr_reader :port

    def initialize
      @port = Program.free_port
      @program = Program.new("redis", ENV.fetch("NODEVENT_TEST_REDIS", "redis-server"), "--port", port.to_s, "--save", "", "--appendonly", "no", "--bind", "127.0.0.1")
      @program.ready("redis-server answers") { ask("ping") == "PONG" }
    end

    def url
      "redis://127.0.0.1:#{port}/0"
    end

    # The output of redis-cli.
    def ask(*command)
      IO.popen([ENV.fetch("NODEVENT_TEST_REDIS_CLI", "redis-cli"), "-p", port.to_s, *command], err: File::NULL, &:read).strip
    end

    def stop
      @program.stop
    end
  end
end
