# frozen_string_literal: true

module Bench
  module Scale
    # What a publication costs with any number of servers and nodes, as a formula: each publication arrives alone, as
    # from many publishers, and nothing waits. The simulation has what happens under load.
    class Estimate
      # Nodes and servers are planned to work for this share of the time.
      BUSY = 0.6
      # A server compares each room that has members with Redis, each 15 s, but at most so many per second.
      CHECK_INTERVAL = 15.0
      MAX_CHECKS = 1000

      # @param costs [Hash<Symbol, Float>] one of Costs
      def initialize(costs, channel:, nodes:, servers:, members:)
        @costs = costs
        @per_room = channel == "per_room"
        @nodes = nodes
        @servers = servers
        @members = members
      end

      # Servers that have a member of a room, if members are spread at random.
      def servers_of_room
        @servers * (1 - ((1 - (1.0 / @servers))**@members))
      end

      # Servers that receive a publication.
      def copies
        @per_room ? servers_of_room : @servers.to_f
      end

      # CPU time of the busiest node. µs
      def node
        own = @costs[:node_arrival] + @costs[:node_publication]
        sending = copies * (@costs[:node_write] + @costs[:node_copy])
        return (own + sending) / @nodes if @per_room

        bus = @nodes > 1 ? @costs[:bus_arrival] + @costs[:bus_publication] : 0
        (own / @nodes) + (bus * (@nodes - 1) / @nodes) + sending
      end

      # CPU time of each server, without further members of the room there. µs
      def server
        received = copies / @servers
        delivered = servers_of_room / @servers
        (received * (@costs[:server_arrival] + @costs[:server_publication])) +
          (delivered * (@costs[:delivery_arrival] + @costs[:server_delivery]))
      end

      # Publications per second up to which the busiest node has time.
      def max_rate
        BUSY * 1e6 / node
      end

      # Comparisons of positions per second with Redis.
      def self.checks(servers:, rooms_of_server:)
        servers * [rooms_of_server / CHECK_INTERVAL, MAX_CHECKS].min
      end
    end
  end
end
