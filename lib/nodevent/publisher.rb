# frozen_string_literal: true

require "monitor"
require "nodevent/publisher/background_publisher"
require "nodevent/publisher/exit_hook"

module NoDevent
  # Chooses the publisher and handles its failures.
  #
  # A publisher is an object with a method `publish(channel, json)`. {BackgroundPublisher} is the native one; `$redis`
  # and custom publishers are called directly.
  module Publisher
    # Guards changes of configuration and publisher. Never held while publishing.
    LOCK = Monitor.new

    @cached = {}.compare_by_identity.freeze

    class << self
      # @return [#publish, nil] the custom publisher
      attr_reader :custom

      def custom=(publisher)
        @custom = publisher
        Native::FastPath.invalidate
      end

      # @param config [Configuration]
      # @return [#publish]
      # @raise [ConfigurationError] if there is no publisher
      def current(config)
        return @custom if @custom
        return cached(config) if config.redis || config.publishes_over_http?
        return $redis if $redis # rubocop:disable Style/GlobalVars -- the old gem's contract
        return cached(config) if config.url

        raise ConfigurationError, "nothing to publish to: set `redis:` or `url:` (now `false`) in " \
                                  "config/nodevent.yml, or set $redis"
      end

      # @param config [Configuration]
      # @return [BackgroundPublisher, nil] what {current} returns, if it is native and has published before
      def native(config)
        return if @custom

        publisher = @cached[config] or return
        publisher if $redis.nil? || config.route&.is_native # rubocop:disable Style/GlobalVars -- the old gem's contract
      end

      # Closes the native publishers; their queued publications are still sent. Positions of another engine are
      # useless.
      def reset!
        synchronize { swap({}.compare_by_identity.freeze) }
        Native.forget_positions
      end

      # Runs the block while holding {LOCK}. A signal handler cannot take a lock, so there the block runs without it:
      # the interrupted thread waits, and the worst that other threads can do is to create a publisher that is not used.
      def synchronize(&block)
        in_signal_handler? ? yield : LOCK.synchronize(&block)
      end

      # Publishes; waits only with `wait: true`.
      # @return see {Emitter.emit}
      # @raise [PublishError] with `wait: true`
      def deliver(publisher, channel, json, **options)
        return publisher.publish(channel, json, **options) if publisher.is_a?(BackgroundPublisher)

        call(publisher, channel, json, options)
      end

      private

      # The native publisher of exactly this configuration.
      def cached(config)
        @cached[config] || synchronize do
          @cached[config] || BackgroundPublisher.new(config).tap do |publisher|
            @cached = @cached.merge(config => publisher).compare_by_identity.freeze
          end
        end
      end

      # Stores the new publishers before it closes the old ones, so that a thread whose publisher is closed gets a new
      # one.
      def swap(cached)
        old = @cached
        @cached = cached
        Native::FastPath.invalidate
        old.each_value(&:close)
      end

      def in_signal_handler?
        Mutex.new.synchronize { false }
      rescue ThreadError
        true
      end

      # A custom publisher has published when it returns, so there is nothing to wait for.
      def call(publisher, channel, json, options)
        if accepts_options?(publisher)
          result = publisher.publish(channel, json, **options)
        elsif options[:idempotency_key]
          raise ArgumentError,
                "#{publisher.class}#publish does not accept idempotency_key; configure `redis:` or `url:`"
        else
          result = publisher.publish(channel, json)
        end
        Native.count("sent")
        result
      rescue StandardError => e
        handle_failure(e, publisher, options)
      end

      def accepts_options?(publisher)
        publisher.method(:publish).parameters.any? { |kind, name| kind == :keyrest || name == :idempotency_key }
      end

      def handle_failure(cause, publisher, options)
        raise cause if [ArgumentError, NameError, TypeError, Error].any? { |error| cause.is_a?(error) }

        Native.count("failed")
        reason = "#{cause.class}: #{Text.clean(cause.message)}"
        error = PublishError.new("#{publisher.class}#publish failed: #{reason}; check that its target is running, or " \
                                 "configure `redis:` or `url:`, which queue and retry")
        raise error if options[:wait]

        ErrorReporter.report(error)
        false
      end
    end

    ExitHook.install
    Reporter.watch_exit
  end
end
