# frozen_string_literal: true

require "json"
require "open3"

module Bench
  module Scale
    # Measures fleets of one, two and four servers. All figures are CPU time: what else runs on the machine does not
    # add to it, although it makes caches colder.
    class Measurement
      SERVERS = [1, 2, 4].freeze
      # Publications at the same time: each alone, or as an application sends them in a loop.
      TOGETHER = [1, 50].freeze
      TIMEOUT = 120

      def initialize(binaries, rounds:)
        @rounds = rounds
        @server = File.join(binaries, "nodevent")
        @load = File.join(binaries, "nodevent-load")
        [@server, @load].each { |path| raise Error, "#{path} is not an executable file" unless File.executable?(path) }
      end

      # @return [Hash] `runs`, `faster`, `heartbeat` and `rooms`
      def all
        { runs: runs, faster: faster, heartbeat: heartbeat, rooms: rooms }
      end

      private

      def runs
        settings = Costs::SETTINGS.product(SERVERS, TOGETHER)
        Array.new(@rounds) { settings }.flatten(1).map do |(redis, channel), servers, together|
          measure(redis: redis, channel: channel, servers: servers, together: together)
        end
      end

      # Five times the rate, from which no cost is derived.
      def faster
        (SERVERS * @rounds).map do |servers|
          measure("--rate", "10000", redis: "single", channel: "one", servers: servers, together: 50)
        end
      end

      # Nothing but a ping to each connection each second, and its pong.
      def heartbeat
        settings = { ping: { interval: "1s" } }
        measure("--seconds", "0", "--connections", "5000", redis: "single", channel: "one", servers: 1,
                                                           settings: settings)
      end

      # Many rooms without publications: memory, and the comparisons of positions with Redis.
      def rooms
        %w[one per_room].flat_map do |channel|
          [[1, 10_000], [10_000, 10_000]].map do |rooms, connections|
            result = measure("--seconds", "0", "--rooms", rooms.to_s, "--connections", connections.to_s,
                             redis: "single", channel: channel, servers: 1)
            result.merge(rooms: rooms, connections: connections)
          end
        end
      end

      def measure(*options, redis:, channel:, servers:, **others)
        together, settings = { together: 1, settings: {} }.merge(others).values_at(:together, :settings)
        fleet = Fleet.new(@server, redis: redis, channel: channel, servers: servers, settings: settings)
        report = fleet.run { generate(fleet, "--together", together.to_s, *options) }
        warn format("%-8<redis>s %-9<channel>s %<servers>d server(s), %<together>2d together %<options>s %<load>.1f",
                    redis: redis, channel: channel, servers: servers, together: together, options: options.join(" "),
                    load: Machine.load_average)
        { redis: redis, channel: channel, servers: servers, together: together, load_average: Machine.load_average,
          report: report }
      end

      def generate(fleet, *options)
        addresses = fleet.ports.flat_map { |port| ["--address", "127.0.0.1:#{port}"] }
        pids = fleet.pids.flat_map { |pid| ["--pid", pid.to_s] }
        pids += fleet.node_pids.flat_map { |pid| ["--redis-pid", pid.to_s] }
        command = [@load, "servers", "--protocol", "socket-io", "--secret", Nodevent::SECRET]
        printed, errors, status = Open3.capture3("timeout", TIMEOUT.to_s, *command, *addresses, *fleet.route, *pids,
                                                 *options)
        raise Error, errors.lines.first.to_s.strip unless status.success?

        JSON.parse(printed, symbolize_names: true)
      end
    end
  end
end
