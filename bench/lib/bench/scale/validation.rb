# frozen_string_literal: true

module Bench
  module Scale
    # The simulation next to the measurement.
    class Validation
      # A simulated cost differs from the measured one by less than this share. The machine is noisy.
      TOLERANCE = 0.3
      # The same at five times the rate: more arrives during a turn than the costs were derived from.
      FASTER_TOLERANCE = 0.5
      # The same for the publisher. At 10,000 per second it finds its own memory in the caches, and the model does not
      # know that.
      FASTER_PUBLISHER_TOLERANCE = 0.7
      # Costs below this are noise. µs
      NOISE = 1.0
      FIGURES = { publisher: :publisher, redis: :redis_cost, server: :server_cost }.freeze

      # One measurement and its simulation: costs in µs.
      Row = Struct.new(:sample, :outcome) do
        def fitted?
          Costs::FITTED.include?(sample.servers)
        end

        # @return [Hash] the measured and the simulated cost of each role
        def pairs
          FIGURES.to_h { |role, name| [role, [sample.public_send(name), outcome[role]]] }
        end

        # @return [Hash] by how much the simulated costs differ, as shares of the measured ones
        def errors
          pairs.transform_values do |measured, simulated|
            (measured - simulated).abs < NOISE ? 0.0 : (simulated / measured) - 1
          end
        end
      end

      def initialize(costs)
        @costs = costs
      end

      # @return [Array<Row>] all measurements
      def rows
        @costs.samples.map { |sample| row(sample, 2000) }
      end

      # @param runs [Array<Hash>] `faster` of a kept run
      def faster(runs)
        Sample.all(runs).map { |sample| row(sample, 10_000) }
      end

      private

      # The servers scenario of the load generator.
      def row(sample, rate)
        costs = @costs.of(sample.redis, sample.channel)
        simulation = Simulation.new(costs, channel: sample.channel, nodes: sample.nodes, servers: sample.servers)
        load = Simulation::Workload.new(rate: rate, together: sample.together, rooms: 1000, room_size: 1, placed: true)
        Row.new(sample, simulation.run(load))
      end
    end
  end
end
