# frozen_string_literal: true

module Bench
  module Scale
    # The costs of single steps, derived from the measurements with one and four servers. Those with two are not used,
    # so that they can contradict.
    #
    # | step | occurs |
    # | --- | --- |
    # | `node_arrival` | for what a node of Redis receives at the same time from a publisher |
    # | `node_publication` | for each publication, at the node that has its room |
    # | `node_write` | for each server to which a node writes in one turn of its event loop |
    # | `node_copy` | for each publication and server to which it is sent |
    # | `bus_arrival`, `bus_publication` | the same as the first two, at the other nodes of a cluster with one channel |
    # | `server_arrival` | for what a server receives at the same time |
    # | `server_publication` | for each publication that a server receives |
    # | `delivery_arrival` | the same, if a room has a member there: other threads are woken |
    # | `server_delivery` | for each publication to a room that has a member there, with the write to this member |
    # | `publisher_arrival`, `publisher_publication` | at the publisher, as at a node |
    class Costs
      # Numbers of servers from whose measurements the costs are derived.
      FITTED = [1, 4].freeze
      SETTINGS = [%w[single one], %w[single per_room], %w[cluster per_room], %w[cluster one]].freeze

      attr_reader :samples

      # @param runs [Array<Hash>] `runs` of a kept run
      def initialize(runs)
        @samples = Sample.all(runs)
        @costs = {}
        # In this order, because later settings have steps in common with earlier ones.
        SETTINGS.each { |redis, channel| @costs[[redis, channel]] = derive(redis, channel) }
      end

      # @return [Hash<Symbol, Float>] µs
      def of(redis, channel)
        @costs.fetch([redis, channel])
      end

      def of_setting(redis, channel)
        samples.select { |one| one.redis == redis && one.channel == channel }
      end

      # Bytes that Redis sends to a server for a publication of the measured size.
      def bytes_per_copy
        all = of_setting("single", "one").map(&:bytes_per_copy)
        all.sum / all.size
      end

      private

      def fitted(redis, channel)
        of_setting(redis, channel).select { |one| FITTED.include?(one.servers) }
      end

      def derive(redis, channel)
        { **publisher(redis, channel), **node(redis, channel), **server(redis, channel) }
      end

      def publisher(redis, channel)
        names = %i[publisher_arrival publisher_publication]
        rest(names, fitted(redis, channel), :publisher) { |one| [1 / one.per_arrival, 1.0] }
      end

      def node(redis, channel)
        return node_alone if [redis, channel] == %w[single one]
        return node_with_bus if channel == "one"

        sending = of("single", "one").slice(:node_write, :node_copy)
        samples = fitted(redis, channel)
        # Of what arrives at a node at a time, each server receives a part.
        known = samples.map do |one|
          (sending[:node_write] * [one.servers, one.per_arrival].min / one.per_arrival) + sending[:node_copy]
        end
        rest(%i[node_arrival node_publication], samples, :redis_cost, known) { |one| [1 / one.per_arrival, 1.0] }
          .merge(sending)
      end

      def node_alone
        rest(%i[node_arrival node_publication node_write node_copy], fitted("single", "one"), :redis_cost) do |one|
          [1 / one.per_arrival, 1.0, one.servers / one.per_arrival, one.servers.to_f]
        end
      end

      # A node does for its own publications what it does with a channel per room. The rest is the bus.
      def node_with_bus
        own = of("cluster", "per_room").slice(:node_arrival, :node_publication, :node_write, :node_copy)
        samples = fitted("cluster", "one")
        known = samples.map do |one|
          ((own[:node_arrival] + (own[:node_write] * one.servers)) / one.per_arrival) + own[:node_publication] +
            (own[:node_copy] * one.servers)
        end
        bus = rest(%i[bus_arrival bus_publication], samples, :redis_cost, known) do |one|
          [(one.nodes - 1) / one.per_arrival, one.nodes - 1.0]
        end
        own.merge(bus)
      end

      def server(redis, channel)
        samples = fitted(redis, channel)
        if [redis, channel] == %w[single one]
          names = %i[server_arrival server_publication delivery_arrival server_delivery]
          return rest(names, samples, :server_cost) { |one| [*received(one, channel), *delivered(one)] }
        end

        delivering = of("single", "one").slice(:delivery_arrival, :server_delivery)
        known = samples.map { |one| delivered(one).zip(delivering.values).sum { |times, cost| times * cost } }
        rest(%i[server_arrival server_publication], samples, :server_cost, known) { |one| received(one, channel) }
          .merge(delivering)
      end

      # Costs that explain what is not known of a figure.
      def rest(names, samples, figure, known = [0.0] * samples.size, &times)
        values = samples.map(&figure)
        unknown = values.zip(known).map { |all, part| all - part }
        names.zip(LeastSquares.solve(samples.map(&times), unknown, values)).to_h
      end

      # What each server receives, per publication: arrivals and publications.
      def received(sample, channel)
        return [1 / sample.per_arrival, 1.0] if channel == "one"

        [1.0 / [sample.servers, sample.per_arrival].max, 1.0 / sample.servers]
      end

      # What each server delivers, per publication: arrivals with a delivery, and deliveries.
      def delivered(sample)
        [1.0 / [sample.servers, sample.per_arrival].max, 1.0 / sample.servers]
      end
    end
  end
end
