# frozen_string_literal: true

require "fileutils"
require "json"
require "net/http"
require "socket"

module Bench
  module Scale
    # Some servers on one Redis, or on a Redis Cluster of three.
    class Fleet
      CLUSTER = 3
      TIMEOUT = 30
      # A node of a cluster also listens on this many ports above its own.
      BUS = 10_000

      attr_reader :nodes, :ports, :pids, :node_pids

      # @param settings [Hash] further settings of the servers, such as `ping`
      def initialize(binary, redis:, channel:, servers:, settings: {})
        @binary = binary
        @folder = File.join(TMP, "scale")
        FileUtils.rm_rf(@folder)
        FileUtils.mkdir_p(@folder)
        @clustered = redis == "cluster"
        @per_room = channel == "per_room"
        @servers = servers
        @settings = settings
        @pids = []
        @node_pids = []
      end

      # Starts everything, yields self, and stops everything.
      def run
        start_nodes
        start_servers
        yield self
      ensure
        stop
      end

      # The route of the load generator to all nodes.
      def route
        addresses = nodes.map { |port| "127.0.0.1:#{port}" }.join(",")
        ["--publish", "redis-history://#{addresses}/nodevent", *("--channel-per-room" if @per_room)]
      end

      private

      def start_nodes
        @nodes = free_ports(@clustered ? CLUSTER : 1)
        @node_pids = nodes.map { |port| spawn("redis-#{port}", *redis_command(port)) }
        nodes.each { |port| await("Redis on port #{port}") { TCPSocket.new("127.0.0.1", port).close } }
        join_nodes if @clustered
      rescue Errno::ENOENT
        raise Error, "redis-server is not installed; on Debian: apt-get install redis-server"
      end

      def redis_command(port)
        cluster = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes-#{port}.conf"] if @clustered
        ["redis-server", "--port", port.to_s, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *cluster]
      end

      def join_nodes
        addresses = nodes.map { |port| "127.0.0.1:#{port}" }
        command = ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"]
        system(*command, out: File.join(@folder, "cluster"), exception: true)
        nodes.each do |port|
          await("the cluster") do
            state = IO.popen(["redis-cli", "-p", port.to_s, "cluster", "info"], &:read)
            raise Errno::ECONNREFUSED unless state.include?("cluster_state:ok")
          end
        end
      end

      def start_servers
        @ports = free_ports(@servers)
        @pids = ports.map do |port|
          File.write(File.join(@folder, "#{port}.json"), JSON.generate(configuration(port)))
          spawn("server-#{port}", @binary, "serve", "#{port}.json")
        end
        ports.each do |port|
          await("server on port #{port}") do
            ready = Net::HTTP.get_response(URI("http://127.0.0.1:#{port}/readyz")).is_a?(Net::HTTPOK)
            raise Errno::ECONNREFUSED unless ready
          end
        end
      end

      def configuration(port)
        redis = { host: "127.0.0.1", port: nodes[0] }
        redis = { cluster: nodes.map { |node| "127.0.0.1:#{node}" } } if @clustered
        { bind: "127.0.0.1", port: port, ping: { interval: "1h", timeout: "1h" }, **@settings,
          "/nodevent": { secret: Nodevent::SECRET, redis: redis, channel_per_room: @per_room } }
      end

      def spawn(name, *command)
        log = File.join(@folder, "#{name}.log")
        Process.spawn(*command, chdir: @folder, out: log, err: log)
      end

      # Repeats the block while what it connects to is not there.
      def await(what)
        deadline = now + TIMEOUT
        begin
          yield
        rescue Errno::ECONNREFUSED, Errno::ECONNRESET, EOFError
          raise Error, "#{what} is not ready after #{TIMEOUT} s; see #{@folder}" if now > deadline

          sleep 0.05
          retry
        end
      end

      def stop
        (@pids + @node_pids).each { |pid| end_process(pid) }
        @pids = []
        @node_pids = []
      end

      def end_process(pid)
        Process.kill(:TERM, pid)
        (Server::TIMEOUT * 20).times do
          return if Process.wait(pid, Process::WNOHANG)

          sleep 0.05
        end
        Process.kill(:KILL, pid)
        Process.wait(pid)
      rescue Errno::ECHILD, Errno::ESRCH
        nil
      end

      # Ports that are free, and whose ports for the bus of a cluster are.
      def free_ports(count)
        ports = []
        while ports.size < count
          port = rand(20_000..29_999)
          ports << port if !ports.include?(port) && free?(port) && free?(port + BUS)
        end
        ports
      end

      def free?(port)
        TCPServer.new("127.0.0.1", port).close
        true
      rescue Errno::EADDRINUSE
        false
      end

      def now
        Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end
    end
  end
end
