# frozen_string_literal: true

require "monitor"
require "nodevent/publisher/queued"

module NoDevent
  # Which publisher is in force, and what happens when it fails.
  #
  # A publisher is any object that answers `publish(channel, json)`. {Queued} is the one written in Rust; `$redis` and
  # the application's own are called as they are.
  module Publisher
    # Guards the change of configuration and publisher; never held while something is published.
    LOCK = Monitor.new

    class << self
      # @return [#publish, nil] the application's own
      attr_accessor :replacement

      # @param config [Configuration]
      # @return [#publish]
      # @raise [ConfigurationError] if there is none
      def current(config)
        return @replacement if @replacement
        return held(config) if config.redis || config.publishes_over_http?
        return $redis if $redis # rubocop:disable Style/GlobalVars -- the old gem's contract
        return held(config) if config.url

        raise ConfigurationError, "there is nothing to publish with: write `redis:` or `url:` into " \
                                  "config/nodevent.yml (now `url: false`), or set $redis"
      end

      # Closes the queued publisher; what it has is still sent.
      def forget
        LOCK.synchronize { replace(nil) }
      end

      # Publishes; waits only if told to.
      # @return see {Emitter.emit}
      # @raise [PublishError] with `wait: true`
      def deliver(publisher, channel, json, **options)
        return publisher.publish(channel, json, **options) if publisher.is_a?(Queued)

        call(publisher, channel, json, options)
      end

      private

      # The queued publisher of this very configuration.
      def held(config)
        publisher, owner = @held
        return publisher if owner.equal?(config)

        LOCK.synchronize do
          publisher, owner = @held
          next publisher if owner.equal?(config)

          made = Queued.new(config)
          replace([made, config].freeze)
          made
        end
      end

      # In this order, so that nobody who finds a publisher closed is given the same one again.
      def replace(held)
        old = @held
        @held = held
        old&.first&.close
      end

      # A publisher that is not ours has done its work when it returns, so there is nothing to wait for.
      def call(publisher, channel, json, options)
        if accepts_options?(publisher)
          result = publisher.publish(channel, json, **options)
        elsif options[:idempotency_key]
          raise ArgumentError, "#{publisher.class}#publish knows no idempotency_key; configure `redis:` or `url:`"
        else
          result = publisher.publish(channel, json)
        end
        Native.count("sent")
        result
      rescue StandardError => e
        fail_with(e, publisher, options)
      end

      def accepts_options?(publisher)
        publisher.method(:publish).parameters.any? { |kind, name| kind == :keyrest || name == :idempotency_key }
      end

      def fail_with(cause, publisher, options)
        raise cause if [ArgumentError, NameError, TypeError, Error].any? { |mistake| cause.is_a?(mistake) }

        Native.count("failed")
        error = PublishError.new("#{publisher.class}#publish failed: #{cause.class}: #{cause.message}; see that what " \
                                 "it publishes to runs, or configure `redis:` or `url:`, which wait and try again")
        raise error if options[:wait]

        Failures.report(error)
        false
      end
    end
  end
end
