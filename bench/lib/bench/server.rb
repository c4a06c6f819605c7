# frozen_string_literal: true

module Bench
  # One kind of server: its name, its installation, its start and its load. Each kind is a subclass.
  class Server
    class << self
      def all
        @all ||= []
      end

      def inherited(kind)
        super
        Server.all << kind
      end
    end

    # Time for a server to exit after SIGTERM, before it is killed. Seconds.
    TIMEOUT = 5

    # @!method name
    #   @return [String] its name on the command line
    # @!method title
    #   @return [String] its name in tables
    # @!method command(workspace)
    #   @return [Array<String>] the command that starts it
    # @!method load(workspace)
    #   @return [Array<String>] the arguments of the load generator
    # @!method install
    #   @return [String] the command that installs it
    # @!method ready?
    #   @return [Boolean] true if it is installed

    # Returns true if it needs a Redis.
    def redis?
      false
    end

    # @return [Hash] environment variables
    def environment(_workspace)
      {}
    end

    # @return [Hash] files in its folder, by name
    def files(_workspace)
      {}
    end

    def takes_part_in?(scenario)
      scenario.only.nil? || scenario.only.include?(name)
    end

    # Starts it for a scenario, yields its workspace, its process id and a function that restarts it, and stops it.
    def run(scenario)
      workspace = Workspace.new(name, scenario, redis: redis?)
      files(workspace).each { |file, text| File.write(File.join(workspace.folder, file), text) }
      pid = start(workspace)
      yield workspace, pid, -> { pid = restart(pid, workspace) }
    ensure
      stop(pid) if pid
      workspace&.close
    end

    private

    def load_arguments(protocol, workspace, publish)
      ["--protocol", protocol, "--address", "127.0.0.1:#{workspace.port}", "--publish", publish]
    end

    def start(workspace)
      log = File.join(workspace.folder, "log")
      pid = Process.spawn(environment(workspace), *command(workspace), chdir: workspace.folder, out: log, err: log)
      workspace.wait_for(workspace.port, log: log)
      pid
    end

    def restart(pid, workspace)
      stop(pid)
      start(workspace)
    end

    def stop(pid)
      Process.kill(:TERM, pid)
      (TIMEOUT * 20).times do
        return if Process.wait(pid, Process::WNOHANG)

        sleep 0.05
      end
      Process.kill(:KILL, pid)
      Process.wait(pid)
    rescue Errno::ECHILD, Errno::ESRCH
      nil
    end
  end
end
