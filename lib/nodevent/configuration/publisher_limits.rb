# frozen_string_literal: true

module NoDevent
  class Configuration
    # Reads the `publisher` section: the queue, the timeouts and the traces of the native publisher.
    module PublisherLimits
      DEFAULTS = { queue: 10_000, queue_bytes: 16 * 1024 * 1024, timeout: 5.0, shutdown_timeout: 2.0,
                   trace_sample_rate: 0.0 }.freeze

      private_constant :DEFAULTS

      # @param values [Values]
      # @return [Limits]
      # @raise [ConfigurationError]
      def self.read(values)
        given = values.mapping("publisher")
        values.check_keys("publisher", given, DEFAULTS.keys)
        kinds = { queue: :count, queue_bytes: :size, timeout: :seconds, shutdown_timeout: :seconds,
                  trace_sample_rate: :share }
        read = kinds.to_h do |name, kind|
          [name, values.public_send(kind, "publisher.#{name}", given[name.to_s], DEFAULTS[name])]
        end
        Limits.new(**read).freeze
      end
    end
  end
end
