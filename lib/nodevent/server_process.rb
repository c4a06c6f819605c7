# frozen_string_literal: true

require "nodevent/credentials"
require "nodevent/handover_path"
require "nodevent/server_binary"

module NoDevent
  # Runs the bundled server as a child of this process. Starts it again after a crash, and stops it at the end. Does not
  # need the rest of the gem, because Puma loads its plugins before the application.
  #
  # - A process that replaces itself with exec, as Puma does for a restart, keeps its children. The new program finds
  #   the server in the environment, and connections stay open.
  # - The server stops itself if this process is killed.
  # - Ctrl-C reaches a whole process group. The server has its own, so that only this process stops it.
  class ServerProcess
    SWITCHED_OFF = "the server does not run with Puma; NODEVENT_IN_PUMA=1 starts it outside of development"
    # The seconds before a crashed server is started again, doubled each time up to the second value.
    DELAYS = [0.5, 30].freeze
    # After these seconds, a crash counts as the first one.
    STABLE_AFTER = 60
    # The seconds in which the server ends its connections, before it is killed.
    STOP_LIMIT = 10
    # The exit status for a wrong configuration (EX_USAGE), which another start does not repair.
    WRONG_CONFIGURATION = 64
    PID = "NODEVENT_SERVER_PID"
    FINGERPRINT = "NODEVENT_SERVER_FINGERPRINT"

    private_constant :DELAYS, :STABLE_AFTER, :STOP_LIMIT, :WRONG_CONFIGURATION, :PID, :FINGERPRINT

    # @return [Boolean] whether the server runs with Puma in this environment
    def self.wanted?
      switch = ENV.fetch("NODEVENT_IN_PUMA", "").downcase
      return !%w[0 false no off].include?(switch) unless switch.empty?

      environment == "development"
    end

    # @return [String] the environment whose section of the configuration the server uses
    def self.environment
      names = %w[NODEVENT_ENV RAILS_ENV RACK_ENV]
      names.map { |name| ENV.fetch(name, "") }.find { |value| !value.empty? } || "development"
    end

    # @return [String] the configuration file that the server reads
    def self.configuration
      named = ENV.fetch("NODEVENT_CONFIG", "")
      named.empty? ? "config/nodevent.yml" : named
    end

    # @yieldparam message [String] for the log
    def initialize(&log)
      @log = log
      @owner = Process.pid
      @lock = Mutex.new
      @stopped = false
      @delay = DELAYS.first
    end

    # Runs the server until {#stop}. Blocks.
    def run
      until @stopped
        started = now
        pid = launch or break

        status = wait(pid)
        # Another process may get its number.
        @lock.synchronize { @pid = nil }
        break if @stopped

        @delay = DELAYS.first if now - started > STABLE_AFTER
        wait_to_restart(status)
      end
    end

    # Stops the server, and waits until it has ended. Does nothing in a child of the process that started it.
    def stop
      return unless Process.pid == @owner

      pid = @lock.synchronize do
        @stopped = true
        @pid
      end
      stop_server(pid) if pid
    end

    def stop_at_exit
      at_exit { stop }
    end

    # Hands the server over to the program with which this process replaces itself.
    def hand_over
      pid = @pid or return

      ENV[PID] = pid.to_s
      ENV[FINGERPRINT] = @fingerprint
      # The new program finds it out itself, because the configuration may name another one.
      ENV.delete(HandoverPath::VARIABLE) if @names_socket
    end

    # Chooses the Unix socket for connections that the application hands over, and names it to the application, also in
    # the workers of a cluster.
    def name_socket
      was_named = HandoverPath.named
      @socket = HandoverPath.for_server(self.class.configuration) do |reason|
        @log.call("no connections are handed over: #{reason}")
      end
      @names_socket = @socket && !was_named
      ENV[HandoverPath::VARIABLE] = @socket if @names_socket
    end

    private

    # @return [Integer, nil] the server's process
    def launch
      adopted = @lock.synchronize { @pid = adopt unless @stopped }
      return adopted if adopted

      # Without the lock, because it may take seconds.
      variables = @stopped ? {} : credentials
      @lock.synchronize { @pid = start(variables) unless @stopped }
    end

    # @param variables [Hash{String => String}] more of them for its environment
    def start(variables)
      binary = ServerBinary.path
      return give_up(ServerBinary::MISSING) unless binary

      @fingerprint = fingerprint
      environment = { "NODEVENT_ENV" => self.class.environment, **variables, **secret_key_base }
      arguments = ["serve", "--parent-pid", Process.pid.to_s]
      arguments += ["--handover-socket", @socket] if @socket
      pid = Process.spawn(environment, binary, *arguments, in: File::NULL, pgroup: true)
      @log.call("server started (pid #{pid})")
      pid
    rescue SystemCallError => e
      give_up("the server could not be started: #{e.message}")
    end

    # What the configuration of `nodevent:cable` names. Rails 7.2.3 and newer have it in the credentials in development,
    # too, and images have the key of the credentials only. Rails is loaded by now, except in a cluster of `puma` that
    # does not preload it.
    def secret_key_base
      return {} if ENV.key?("SECRET_KEY_BASE") || !defined?(::Rails.application)
      return {} unless configured?(/\$\{SECRET_KEY_BASE\b/)

      { "SECRET_KEY_BASE" => ::Rails.application.secret_key_base }
    rescue StandardError => e
      @log.call("the server does not receive secret_key_base: #{e.message.lines.first.to_s.chomp}")
      {}
    end

    def configured?(pattern)
      File.read(self.class.configuration).match?(pattern)
    rescue SystemCallError
      false
    end

    # Variables that the environment lacks. Others can read the arguments of a program, but not its environment.
    def credentials
      kind = self.class
      Credentials.variables_of_application(kind.configuration, kind.environment) { |reason| @log.call(reason) }
    end

    # The server that this process started before it replaced itself.
    def adopt
      pid = ENV.delete(PID).to_i
      return if pid.zero? || !child?(pid)

      if ENV.delete(FINGERPRINT) == fingerprint
        @fingerprint = fingerprint
        @log.call("server continues (pid #{pid})")
        return pid
      end
      @log.call("server is replaced, because its program or configuration has changed (pid #{pid})")
      stop_server(pid)
      nil
    end

    def give_up(message)
      @log.call(message)
      nil
    end

    def child?(pid)
      Process.waitpid(pid, Process::WNOHANG).nil?
    rescue Errno::ECHILD
      false
    end

    # @return [Process::Status, nil] nil if another part of this process has collected it, as Puma's cluster does
    def wait(pid)
      Process.wait2(pid).last
    rescue Errno::ECHILD
      nil
    end

    def wait_to_restart(status)
      if status&.exitstatus == WRONG_CONFIGURATION
        @log.call("server did not start (see above); it starts when #{self.class.configuration} has changed")
        # As it was when the server read it.
        sleep 1 while !@stopped && fingerprint == @fingerprint
        @delay = DELAYS.first
      else
        @log.call("server ended (#{describe(status)}); it starts again in #{@delay} s")
        sleep @delay
        @delay = [@delay * 2, DELAYS.last].min
      end
    end

    def describe(status)
      return "unknown status" unless status

      status.signaled? ? "signal #{Signal.signame(status.termsig)}" : "exit status #{status.exitstatus}"
    end

    def stop_server(pid)
      return unless child?(pid)

      Process.kill(:TERM, pid)
      limit = now + STOP_LIMIT
      while child?(pid)
        Process.kill(:KILL, pid) if now > limit
        sleep 0.02
      end
    rescue Errno::ESRCH, Errno::ECHILD
      nil
    end

    # Changes when another server should run: another program, configuration or environment.
    def fingerprint
      files = [ServerBinary.path, self.class.configuration, *Credentials.files].compact.map do |path|
        stat = File.stat(path)
        "#{path}:#{stat.size}:#{stat.mtime.to_f}"
      rescue SystemCallError
        path
      end
      [self.class.environment, *files, @socket].join(" ")
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
