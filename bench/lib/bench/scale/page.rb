# frozen_string_literal: true

require "json"

module Bench
  module Scale
    # A measurement, its simulation, and what follows for larger fleets, as tables.
    class Page
      include Tables

      TITLES = { %w[single one] => "one Redis, one channel", %w[single per_room] => "one Redis, a channel per room",
                 %w[cluster one] => "Cluster of three, one channel",
                 %w[cluster per_room] => "Cluster of three, a channel per room" }.freeze
      FLEETS = [1, 2, 4, 10, 20, 50, 100].freeze
      # Members of a room.
      MEMBERS = 10
      # A kept run in which a publication has many members at one server.
      STEADY = File.expand_path("../../../runs/2026-11-30-3c76c18d.json", __dir__)

      attr_reader :costs

      # @param results [Hash] a kept run
      def initialize(results)
        @results = results
        @costs = Costs.new(results[:runs])
        @validation = Validation.new(costs)
        @growth = Growth.new(costs, further_delivery: self.class.further_delivery, check_cost: check_cost)
      end

      SECTIONS = %w[summary measured steps simulated faster one_room_each ceilings growth other].freeze

      def to_s
        [heading, *SECTIONS.map { |name| section(name) }].join("\n")
      end

      # @return [String] one of SECTIONS
      def section(name)
        raise ArgumentError, name unless SECTIONS.include?(name)

        send(name)
      end

      # The cost of one more member of a room at a server. µs
      def self.further_delivery
        @further_delivery ||= begin
          kept = JSON.parse(File.read(STEADY), symbolize_names: true)
          steady = kept[:results].select { |one| one[:scenario] == "steady" && one[:server] == "nodevent-redis" }
          values = steady.map { |one| one[:report][:delivery][:cpu_us] }.sort
          values[values.size / 2]
        end
      end

      private

      def heading
        machine = @results[:machine]
        loads = @results[:runs].map { |one| one[:load_average] }.minmax.join(" to ")
        <<~TEXT
          ## Several servers, #{machine[:date][0, 10]}, commit #{machine[:commit]}

          #{machine[:cores]} cores of #{machine[:processor]}, Linux #{machine[:kernel]}, Redis \
          #{machine[:versions][:redis]}. Load average #{loads}: other programs used the machine too. All figures are CPU \
          time.
        TEXT
      end

      # The figures that answer most questions.
      def summary
        steps = costs.of("single", "one")
        own = steps[:node_publication] + steps[:node_write] + steps[:node_copy]
        table("Summary", ["", ""],
              [["publications per second through one Redis, each alone", per_second(steps[:node_arrival] + own)],
               ["the same, 50 at a time", per_second((steps[:node_arrival] / 50) + own)],
               ["one more server on the same channel, for each publication, in Redis",
                "#{micro(steps[:node_write] + steps[:node_copy])} µs"],
               *foreign(steps), @growth.largest])
      end

      # What a publication costs a server that has no member in its room.
      def foreign(steps)
        alone, together = [1, 50].map { |count| (steps[:server_arrival] / count) + steps[:server_publication] }
        [["a publication without members at a server on the same channel, alone", "#{micro(alone)} µs"],
         ["the same, 50 at a time", "#{micro(together)} µs"]]
      end

      def per_second(cost)
        whole(Estimate::BUSY * 1e6 / cost)
      end

      def measured
        rows = TITLES.keys.product(Measurement::TOGETHER).map do |setting, together|
          chosen = costs.of_setting(*setting).select { |one| one.together == together }.sort_by(&:servers)
          figures = %i[redis_cost busiest_node server_cost].map { |name| slashed(chosen.map(&name)) }
          [TITLES.fetch(setting), together, micro(mean(chosen.map(&:publisher))), *figures, chosen.sum(&:lost)]
        end
        table("Measured: CPU time of a publication in µs, with 1 / 2 / 4 servers",
              ["", "at a time", "publisher", "Redis", "busiest node", "each server", "lost"], rows)
      end

      def steps
        names = costs.of("cluster", "one").keys
        rows = TITLES.map { |setting, title| [title, *names.map { |name| micro(costs.of(*setting)[name]) }] }
        table("Costs of single steps in µs", ["", *names.map { |name| "`#{name}`" }], rows)
      end

      def simulated
        rows = @validation.rows.map do |row|
          [TITLES.fetch([row.sample.redis, row.sample.channel]), row.sample.together, row.sample.servers,
           row.fitted? ? "" : "yes", *comparison(row)]
        end
        table("Measurement → simulation in µs",
              ["", "at a time", "servers", "predicted", "publisher", "Redis", "each server"], rows)
      end

      def faster
        rows = @validation.faster(@results[:faster]).map { |row| [row.sample.servers, *comparison(row)] }
        table("The same at 10,000 per second, 50 at a time, one Redis, one channel, all predicted",
              ["servers", "publisher", "Redis", "each server"], rows)
      end

      def comparison(row)
        row.pairs.map do |role, (measured, simulated)|
          "#{micro(measured)} → #{micro(simulated)} (#{format('%+d', (row.errors[role] * 100).round)} %)"
        end
      end

      # How far one channel reaches, if each room has its members at one server.
      def one_room_each
        rows = FLEETS.map do |servers|
          [servers, *%w[one per_room].flat_map do |channel|
            one = estimate("single", channel, servers: servers, members: 1)
            [micro(one.node), whole(one.max_rate), micro(one.server)]
          end]
        end
        table("One Redis, rooms of one member: publications per second at #{percent(Estimate::BUSY)} of a core",
              ["servers", "one channel: Redis, µs", "per second", "each server, µs", "channel per room: Redis, µs",
               "per second", "each server, µs"], rows)
      end

      def ceilings
        rows = FLEETS.map do |servers|
          rates = [estimate("single", "one", servers: servers), estimate("cluster", "one", servers: servers, nodes: 3),
                   estimate("single", "per_room", servers: servers),
                   *[3, 10].map { |nodes| estimate("cluster", "per_room", servers: servers, nodes: nodes) }]
          [servers, *rates.map { |one| whole(one.max_rate) }]
        end
        table("Publications per second to rooms of #{MEMBERS}, at #{percent(Estimate::BUSY)} of the busiest node",
              ["servers", "one Redis, one channel", "Cluster of 3, one channel", "one Redis, channel per room",
               "Cluster of 3, channel per room", "Cluster of 10, channel per room"], rows)
      end

      def growth
        @growth.to_s
      end

      def other
        rows = [["a ping and its pong, at the server", "#{micro(heartbeat)} µs"],
                ["comparing the position of a room, in Redis", "#{micro(check_cost)} µs"],
                ["the same, at the server", "#{micro(check_cost(:servers_us))} µs"],
                ["a publication of 200 bytes, from Redis to a server", "#{whole(costs.bytes_per_copy)} bytes"],
                *memory]
        table("Other costs", ["", ""], rows)
      end

      def memory
        @results[:rooms].map do |one|
          title = "#{whole(one[:connections])} connections in #{whole(one[:rooms])} rooms, " \
                  "#{one[:channel] == 'one' ? 'one channel' : 'channel per room'}"
          before, after = redis_memory(one)
          [title, "#{whole(one[:report][:memory][:idle])} bytes per connection at the server, " \
                  "#{whole((after - before) / one[:connections])} in Redis"]
        end
      end

      def redis_memory(run)
        usage = run[:report][:servers]
        [usage[:memory_before].sum, usage[:idle][:memory].sum.to_f]
      end

      # One ping per second and connection.
      def heartbeat
        usage = @results[:heartbeat][:report][:servers][:idle]
        usage[:servers_us].sum / usage[:seconds] / @results[:heartbeat][:report][:connections]
      end

      # What 10,000 rooms cost more than one. µs
      def check_cost(of = :nodes_us)
        one, many = @results[:rooms].select { |run| run[:channel] == "one" }.sort_by { |run| run[:rooms] }
        per_second = [one, many].map do |run|
          usage = run[:report][:servers][:idle]
          usage[of].sum / usage[:seconds]
        end
        (per_second[1] - per_second[0]) / (many[:rooms] / Estimate::CHECK_INTERVAL)
      end

      def estimate(redis, channel, servers:, members: MEMBERS, nodes: 1)
        Estimate.new(costs.of(redis, channel), channel: channel, nodes: nodes, servers: servers, members: members)
      end
    end
  end
end
