# frozen_string_literal: true

module NoDevent
  class Configuration
    # Translates a configuration into the settings of the native publisher. `ext/nodevent/src/target.rs` defines their
    # shape.
    module NativeTarget
      class << self
        # @param config [Configuration]
        # @return [Hash]
        # @raise [ConfigurationError]
        def of(config)
          limits = config.publisher
          # The SDK of OpenTelemetry decides itself what is sampled.
          rate = Trace.open_telemetry? ? 0.0 : limits.trace_sample_rate
          { engine: engine(config), queue_publications: limits.queue, queue_bytes: limits.queue_bytes,
            trace_sample_rate: rate, max_publication: Encoder.limit(config) }
        end

        private

        def engine(config)
          return { http: { url: config.url, publish_key: config.publish_key } } unless config.redis

          { redis: config.redis_target.merge(namespace: config.namespace, fingerprint: config.fingerprint,
                                             history: retention(config.history),
                                             channel_per_room: config.channel_per_room?,
                                             mailbox: mailbox(config.mailbox)) }
        end

        # In the shape of Rust's `MailboxTarget`.
        def mailbox(settings)
          settings&.merge(age: duration(settings[:age]))
        end

        # In the shape of Rust's `RetentionPolicy`.
        def retention(history)
          { default: kept(history[:default]),
            prefixes: history[:prefixes].map { |prefix, one| [prefix, kept(one)] } }
        end

        def kept(one)
          return if one.nil?

          { size: one[:size], age: duration(one[:age]) }
        end

        def duration(milliseconds)
          seconds, rest = milliseconds.divmod(1000)
          { secs: seconds, nanos: rest * 1_000_000 }
        end
      end
    end
  end
end
