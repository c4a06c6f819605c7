# frozen_string_literal: true

require "bundler"
require "fileutils"
require "socket"

module E2E
  # A process in its own group, with its output in a file; stopped together with its children.
  class Program
    attr_reader :log, :pid

    @running = []

    class << self
      attr_reader :running

      # Distinguishes the logs of programs with the same name.
      def next_number
        @number = @number.to_i + 1
      end

      def stop_all
        running.dup.reverse_each(&:stop)
      end

      # A free port.
      def free_port
        TCPServer.open("127.0.0.1", 0) { |server| server.addr[1] }
      end
    end

    def initialize(name, *command, env: {}, dir: ROOT)
      FileUtils.mkdir_p(TMP)
      @log = File.join(TMP, "#{Process.pid}-#{Program.next_number}-#{name}.log")
      @pid = Bundler.with_unbundled_env { Process.spawn(env, *command, chdir: dir, pgroup: true, %i[out err] => [log, "a"]) }
      Program.running << self
    end

    # Waits until it is ready.
    def ready(what, within: Waiting::LIMIT)
      Waiting.eventually(what, within: within) do
        raise "#{what}: exited with\n#{output}" if ended?

        yield
      end
      self
    rescue StandardError
      stop
      raise
    end

    def output
      File.read(log)
    end

    def ended?
      @status ||= Process.wait2(pid, Process::WNOHANG)&.last
      !@status.nil?
    end

    # The exit status; waits until the process exits.
    def status(within: Waiting::LIMIT)
      Waiting.eventually("process #{pid} ends", within: within) { ended? }
      @status
    end

    def signal(name)
      Process.kill(name, pid)
    end

    def stop
      Program.running.delete(self)
      end_with("TERM") || end_with("KILL")
    end

    private

    def end_with(name)
      Process.kill(name, -pid)
      Waiting.eventually("the group of #{pid} ends", within: 10) { ended? && !group? }
      true
    rescue Errno::ESRCH
      ended?
      true
    rescue RuntimeError
      false
    end

    def group?
      Process.kill(0, -pid)
      true
    rescue Errno::ESRCH
      false
    end
  end
end
