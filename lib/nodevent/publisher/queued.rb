# frozen_string_literal: true

require "json"
require "nodevent/publisher/reporter"

module NoDevent
  module Publisher
    # The publisher written in Rust: a bounded queue and a background thread that empties it into Redis or a NoDevent
    # server, in order, across lost connections. Each process has its own, also after `fork`.
    class Queued
      # @param config [Configuration]
      # @raise [ConfigurationError] if the address cannot be used
      def initialize(config)
        @timeout = config.publisher.timeout
        @remedy = config.redis ? "see that Redis runs" : "start the server with `nodevent`, or configure `redis:`"
        @native = Native::Publisher.new(JSON.generate(config.publisher_target))
        Reporter.at_exit(config.publisher.flush)
      rescue ArgumentError => e
        raise ConfigurationError, e.message
      end

      # @param channel [String] the namespace
      # @param json [String] the emission
      # @return [true, false] queued, or the queue is full; with `wait: true` the engine's answer
      # @raise [PublishError] with `wait: true`
      def publish(channel, json, wait: false, timeout: nil, idempotency_key: nil)
        Reporter.start
        key = check_key(idempotency_key)
        return @native.publish(channel, json, key) unless wait

        seconds = Float(timeout || @timeout)
        status, answer, trouble = @native.publish_and_wait(channel, json, key, seconds)
        status == :ok ? answer : raise(PublishError, explain(status, answer, trouble, seconds))
      end

      # @param timeout [Numeric] seconds
      # @return [Boolean] whether all that was published so far has reached the engine
      def flush(timeout = 5)
        @native.flush(Float(timeout))
      end

      # Takes no more; what waits is still sent.
      def close
        @native.close
      end

      # @return [Integer] emissions that wait or are under way
      def pending
        @native.pending
      end

      # @return [String] where it publishes, without user and password
      def address
        @native.address
      end

      def inspect
        "#<#{self.class} #{address}>"
      end

      private

      def check_key(key)
        return if key.nil?

        key = key.to_s
        return key if key.ascii_only? && key.match?(/\A[[:graph:] ]{1,255}\z/)

        raise ArgumentError, "an idempotency_key has 1 to 255 printable ASCII characters"
      end

      def explain(status, answer, trouble, seconds)
        case status
        when :full then "the queue to #{address} is full; #{@remedy}"
        when :failed then answer
        else
          fate = answer ? "it was withdrawn" : "it may still arrive"
          "no answer from #{address} within #{seconds} s#{": #{trouble}" if trouble} (#{fate}); #{@remedy}"
        end
      end
    end
  end
end
