# frozen_string_literal: true

module Bench
  module Scale
    # One measurement of a fleet, per publication and without what the fleet uses when it is idle.
    class Round
      attr_reader :redis, :channel, :servers, :together

      # @param run [Hash] one element of `runs` in a kept run
      def initialize(run)
        @redis = run[:redis]
        @channel = run[:channel]
        @servers = run[:servers]
        @together = run[:together]
        @report = run[:report]
        @usage = @report[:servers]
      end

      def nodes
        @usage[:publishing][:nodes_us].size
      end

      # Publications that a node receives at the same time, as far as the publisher was on time.
      def per_arrival
        @usage[:publications].to_f / @usage[:flushes]
      end

      # CPU time of the publisher. µs
      def publisher
        @usage[:publisher_us] / @usage[:publications]
      end

      # CPU time of all nodes. µs
      def redis_cost
        per_publication(:nodes_us).sum
      end

      # CPU time of the busiest node. µs
      def busiest_node
        per_publication(:nodes_us).max
      end

      # CPU time of each server, on average. µs
      def server_cost
        costs = per_publication(:servers_us)
        costs.sum / costs.size
      end

      # Bytes that Redis sends to each server that receives a publication.
      def bytes_per_copy
        sent = per_publication(:output_bytes).sum
        sent / (channel == "one" ? servers : 1)
      end

      def lost
        @report[:delivery][:lost]
      end

      private

      def per_publication(name)
        idle, publishing = @usage.values_at(:idle, :publishing)
        idle[name].zip(publishing[name]).map do |without, with|
          (with - (without / idle[:seconds] * publishing[:seconds])) / @usage[:publications]
        end
      end
    end

    # The same measurement in several rounds: the medians.
    class Sample
      # @return [Array<Sample>] the samples of the runs of a kept run
      def self.all(runs)
        runs.group_by { |run| run.values_at(:redis, :channel, :servers, :together) }.values.map { |rounds| new(rounds) }
      end

      def initialize(runs)
        @rounds = runs.map { |run| Round.new(run) }
      end

      %i[redis channel servers together nodes].each do |name|
        define_method(name) { @rounds.first.public_send(name) }
      end

      %i[per_arrival publisher redis_cost busiest_node server_cost bytes_per_copy].each do |name|
        define_method(name) do
          values = @rounds.map(&name).sort
          (values[(values.size - 1) / 2] + values[values.size / 2]) / 2
        end
      end

      def lost
        @rounds.sum(&:lost)
      end
    end
  end
end
