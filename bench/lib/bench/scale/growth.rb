# frozen_string_literal: true

module Bench
  module Scale
    # Fleets of up to 100 servers with many connections, simulated, with as many nodes of Redis as they need.
    class Growth
      include Tables

      SERVERS = [1, 2, 4, 10, 20, 50, 100].freeze
      # Connections of a server, members of a room, and the time in which a connection receives one publication.
      CONNECTIONS = 100_000
      MEMBERS = 10
      INTERVAL = 10.0
      # Publications that are simulated.
      PLAYED = 20_000
      HEAD = ["servers", "connections", "publications/s", "nodes", "busiest node", "each server, cores",
              "to each server, MB/s", "Redis sends, MB/s", "p99 ms", "comparisons, cores of Redis"].freeze

      # @param check_cost [Float] what comparing the position of a room costs Redis. µs
      def initialize(costs, further_delivery:, check_cost:)
        @costs = costs
        @further = further_delivery
        @check_cost = check_cost
      end

      def to_s
        table("#{whole(CONNECTIONS)} connections per server in rooms of #{MEMBERS}, each receives a publication " \
              "every #{INTERVAL.to_i} s; channel per room; simulated", HEAD, rows)
      end

      # @return [Array<String>] a row for the summary
      def largest
        servers, connections, rate, nodes = rows.last
        ["#{servers} servers, #{connections} connections, #{rate} publications per second", "#{nodes} nodes of Redis"]
      end

      private

      def rows
        @rows ||= SERVERS.map { |servers| row_of(servers) }
      end

      def row_of(servers)
        rate = servers * CONNECTIONS / INTERVAL / MEMBERS
        nodes = nodes_for(rate, servers)
        outcome = simulate(rate, nodes, servers)
        sent = rate * outcome.copies * @costs.bytes_per_copy / 1e6
        checks = Estimate.checks(servers: servers, rooms_of_server: CONNECTIONS)
        [servers, whole(servers * CONNECTIONS), whole(rate), nodes, percent(outcome.node_busy),
         (outcome.server * rate / 1e6).round(2), *[sent / servers, sent, outcome.delay].map { |one| one.round(1) },
         (checks * @check_cost / 1e6).round(2)]
      end

      def nodes_for(rate, servers)
        one = Estimate.new(@costs.of("cluster", "per_room"), channel: "per_room", nodes: 1, servers: servers,
                                                             members: MEMBERS)
        (rate / one.max_rate).ceil.clamp(1, nil)
      end

      def simulate(rate, nodes, servers)
        costs = @costs.of(nodes > 1 ? "cluster" : "single", "per_room")
        simulation = Simulation.new(costs, channel: "per_room", nodes: nodes, servers: servers,
                                           further_delivery: @further)
        load = Simulation::Workload.new(rate: rate, together: 1, rooms: servers * CONNECTIONS / MEMBERS,
                                        room_size: MEMBERS)
        simulation.run(load, seconds: [1.0, PLAYED / rate].min)
      end
    end
  end
end
