# frozen_string_literal: true

require "net/http"

module E2E
  # The real server, with the demo's configuration file.
  class Server
    BINARY = File.join(ENV.fetch("CARGO_TARGET_DIR") { File.join(ROOT, "target") }, "debug", "nodevent")
    FILE = File.join(ROOT, "demo", "config", "nodevent.yml")

    attr_reader :port

    def initialize(env)
      @env = env
      @port = Integer(env.fetch("NODEVENT_PORT"))
      start
    end

    def start
      @program = Program.new("nodevent", BINARY, "serve", FILE, env: @env)
      @program.ready("the server answers") { answers?("/readyz") }
    end

    def stop
      @program.stop
    end

    # Runs the block while the server accepts connections and does not respond.
    def while_hanging
      @program.signal("STOP")
      yield
    ensure
      @program.signal("CONT")
    end

    def output
      @program.output
    end

    def get(path)
      Net::HTTP.get_response("127.0.0.1", path, port)
    end

    private

    def answers?(path)
      get(path).is_a?(Net::HTTPOK)
    rescue SystemCallError
      false
    end
  end
end
