# frozen_string_literal: true

module Bench
  module Scale
    # A discrete simulation: publications arrive at the nodes of Redis, which send them to servers, which write them to
    # members. Nodes and servers work in turns: what arrives during a turn is the next one. So what is shared by what
    # arrives at the same time becomes cheaper under load, and what is above a node's capacity waits.
    #
    # A server has one turn after the other, although it delivers in several threads: its CPU time is that of all
    # threads, and its delays are those of a machine with one core.
    class Simulation
      # rate::     publications per second
      # together:: how many are published at the same time
      # rooms::    number of rooms
      # members::  members of each room
      # placed::   `true` if room i has its only member at server i, in turn, as in the measurement; otherwise the
      #            members are spread at random, and publications arrive at random times for random rooms
      Workload = Struct.new(:rate, :together, :rooms, :room_size, :placed, keyword_init: true)

      # CPU time per publication in µs: of the publisher, of all nodes, and of each server on average.
      # `busy` is the share of the time for which the busiest node and the busiest server work. `delay` is the 99th
      # percentile of the time from a publication to its last write, in ms. `copies` is how many servers receive one.
      Outcome = Struct.new(:publisher, :redis, :server, :node_busy, :server_busy, :delay, :copies,
                           keyword_init: true)

      # So many servers are simulated. More are alike, and only Redis notices them.
      OBSERVED = 8
      # What waits at a node or a server: since when, its own cost, and what comes of it.
      Arrival = Struct.new(:at, :cost, :targets)

      # @param costs [Hash<Symbol, Float>] one of Costs
      # @param further_delivery [Float] the cost of each further member of a room at a server. µs
      def initialize(costs, channel:, nodes:, servers:, further_delivery: 0.0)
        @costs = costs
        @per_room = channel == "per_room"
        @nodes = nodes
        @servers = servers
        @further = further_delivery
        @random = Random.new(1)
      end

      # @return [Outcome]
      def run(workload, seconds: 1.0)
        @workload = workload
        @copies = 0
        groups = groups(seconds)
        published = groups.sum { |_, rooms| rooms.size }
        arrivals = Array.new([@servers, OBSERVED].min) { [] }
        node_busy = Array.new(@nodes) { |node| play_node(node, groups, arrivals) }
        played = arrivals.map { |waiting| play_server(waiting) }
        outcome(groups, published, node_busy, played, seconds)
      end

      private

      def outcome(groups, published, node_busy, played, seconds)
        server_busy = played.map(&:first)
        delays = played.flat_map(&:last)
        publisher = (groups.size * @costs[:publisher_arrival] * parts) + (published * @costs[:publisher_publication])
        length = seconds * 1e6
        Outcome.new(publisher: publisher / published, redis: node_busy.sum / published,
                    server: server_busy.sum / played.size / published,
                    node_busy: node_busy.max / length, server_busy: server_busy.max / length,
                    delay: percentile(delays, 0.99) / 1000, copies: @copies.to_f / published)
      end

      # The nodes to which a group of publications goes, on average.
      def parts
        [@nodes, @workload.together].min
      end

      # @return [Array] the time (µs) and the rooms of what is published at the same time
      def groups(seconds)
        count = (@workload.rate * seconds / @workload.together).round
        next_room = -1
        times(count, seconds).map do |at|
          rooms = Array.new(@workload.together) do
            @workload.placed ? (next_room = (next_room + 1) % @workload.rooms) : @random.rand(@workload.rooms)
          end
          [at, rooms]
        end
      end

      def times(count, seconds)
        return Array.new(count) { |index| index * seconds * 1e6 / count } if @workload.placed

        Array.new(count) { @random.rand * seconds * 1e6 }.sort
      end

      # Plays a node, adds what it sends to the arrivals at the servers, and returns its CPU time.
      def play_node(node, groups, arrivals)
        waiting = groups.filter_map { |at, rooms| arrival_at_node(node, at, rooms) }
        turns(waiting) do |turn|
          cost = turn.sum(&:cost)
          targets = turn.flat_map(&:targets)
          counts = targets.map { |target| target[:servers] }
          written = written_servers(counts)
          copies = counts.sum(&:size)
          @copies += copies
          [cost + (written.size * @costs[:node_write]) + (copies * @costs[:node_copy]),
           ->(at) { send_to_servers(at, targets, arrivals) }]
        end
      end

      def written_servers(counts)
        return counts.first || [] unless @per_room

        counts.flatten.uniq
      end

      # What a group costs a node, and where it goes from there. `nil`: nothing is for this node.
      def arrival_at_node(node, at, rooms)
        own, others = rooms.partition { |room| room % @nodes == node }
        others = [] if @per_room
        return if own.empty? && others.empty?

        cost = cost_of(own, :node_arrival, :node_publication) + cost_of(others, :bus_arrival, :bus_publication)

        # With one channel, all servers are subscribed at one node of a cluster.
        sent = own if @per_room
        sent ||= node.zero? ? rooms : []
        Arrival.new(at, cost, sent.map { |room| target(room, at) })
      end

      def cost_of(rooms, arrival, publication)
        rooms.empty? ? 0.0 : @costs[arrival] + (rooms.size * @costs[publication])
      end

      # The servers that receive a publication to a room, and how many members each of them has.
      def target(room, at)
        members = members(room)
        servers = @per_room ? members.keys : everyone
        { at: at, members: members, servers: servers }
      end

      def everyone
        @everyone ||= (0...@servers).to_a
      end

      def members(room)
        return { room % @servers => 1 } if @workload.placed

        # In a large room each server has about as many.
        size = @workload.room_size
        return everyone.to_h { |server| [server, size / @servers] } if size > 20 * @servers

        Array.new(size) { @random.rand(@servers) }.tally
      end

      def send_to_servers(at, targets, arrivals)
        arrivals.each_with_index do |waiting, server|
          received = @per_room ? targets.select { |one| one[:members].key?(server) } : targets
          next if received.empty?

          delivering = received.select { |one| one[:members].fetch(server, 0).positive? }
          further = delivering.sum { |one| one[:members][server] - 1 }
          cost = (received.size * @costs[:server_publication]) + (delivering.size * @costs[:server_delivery]) +
                 (further * @further)
          waiting << Arrival.new(at, cost, delivering.map { |one| one[:at] })
        end
      end

      # Plays a server, and returns its CPU time and the delays of what it delivers.
      def play_server(waiting)
        delays = []
        busy = turns(waiting.sort_by(&:at)) do |turn|
          published = turn.flat_map(&:targets)
          woken = published.empty? ? 0 : @costs[:delivery_arrival]
          at_end = ->(at) { published.each { |from| delays << (at - from) } }
          [@costs[:server_arrival] + woken + turn.sum(&:cost), at_end]
        end
        [busy, delays]
      end

      # Divides what waits into turns. The block returns what a turn costs, and what happens at its end.
      def turns(waiting)
        free = busy = 0.0
        index = 0
        while index < waiting.size
          start = [free, waiting[index].at].max
          first = index
          index += 1 while index < waiting.size && waiting[index].at <= start
          cost, at_end = yield waiting[first...index]
          busy += cost
          free = start + cost
          at_end.call(free)
        end
        busy
      end

      def percentile(values, share)
        return 0.0 if values.empty?

        values.sort[((values.size - 1) * share).round]
      end
    end
  end
end
