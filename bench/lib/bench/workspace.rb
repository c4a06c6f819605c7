# frozen_string_literal: true

require "fileutils"
require "socket"

module Bench
  # The surroundings of one server in one scenario: its ports, its folder, and a private Redis if it needs one.
  class Workspace
    TIMEOUT = 30

    attr_reader :scenario, :port, :publish_port, :redis_port, :redis_pid, :folder

    def initialize(name, scenario, redis:)
      @scenario = scenario
      @folder = File.join(TMP, "servers", name)
      FileUtils.mkdir_p(folder)
      @port = free_port
      @publish_port = free_port
      start_redis if redis
    end

    # Waits until a process listens on a port.
    def wait_for(port, log: nil)
      deadline = now + TIMEOUT
      begin
        TCPSocket.new("127.0.0.1", port).close
      rescue Errno::ECONNREFUSED
        raise Error, "no process listens on port #{port} after #{TIMEOUT} s; see #{log || folder}" if now > deadline

        sleep 0.02
        retry
      end
    end

    def close
      return unless redis_pid

      Process.kill(:TERM, redis_pid)
      Process.wait(redis_pid)
      @redis_pid = nil
    end

    private

    def start_redis
      @redis_port = free_port
      @redis_pid = Process.spawn("redis-server", "--port", redis_port.to_s, "--bind", "127.0.0.1", "--save", "",
                                 "--appendonly", "no", out: File::NULL, err: File::NULL)
      wait_for(redis_port)
    rescue Errno::ENOENT
      raise Error, "redis-server is not installed; on Debian: apt-get install redis-server"
    end

    def free_port
      server = TCPServer.new("127.0.0.1", 0)
      server.addr[1]
    ensure
      server&.close
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
