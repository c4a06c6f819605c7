# frozen_string_literal: true

require "json"
require "nodevent/publisher/reporter"

module NoDevent
  module Publisher
    # The publisher written in Rust: a bounded queue and a background thread that empties it into Redis or a NoDevent
    # server, in order, across lost connections. Each process has its own, also after `fork`.
    class Queued
      # A later configuration has taken the place of the one this publisher was made for.
      class Closed < PublishError; end

      # What to do where nobody answers.
      # @api private
      def self.remedy(http:)
        http ? "start the server with `nodevent`, or configure `redis:`" : "see that Redis runs"
      end

      # @param config [Configuration]
      # @raise [ConfigurationError] if the address cannot be used
      def initialize(config)
        @timeout = config.publisher.timeout
        @remedy = self.class.remedy(http: config.redis.nil?)
        @native = Native::Publisher.new(JSON.generate(config.publisher_target))
        Reporter.at_exit(config.publisher.flush)
      rescue ArgumentError => e
        raise ConfigurationError, e.message
      end

      # @param channel [String] the namespace
      # @param json [String] the emission
      # @param wait see {Emitter.emit}
      # @param timeout see {Emitter.emit}
      # @param idempotency_key see {Emitter.emit}
      # @return [true, false, Integer, String] queued, or the queue is full; with `wait: true` the engine's answer
      # @raise [PublishError] with `wait: true`
      def publish(channel, json, wait: false, timeout: nil, idempotency_key: nil)
        Reporter.start
        key = check_key(idempotency_key)
        return publish_and_wait(channel, json, key, Float(timeout || @timeout)) if wait

        queued = @native.publish(channel, json, key)
        queued.nil? ? raise(Closed, CLOSED) : queued
      end

      # @param timeout [Numeric] seconds
      # @return [Boolean] whether all that was published so far has reached the engine
      def flush(timeout = 5)
        @native.flush(Float(timeout))
      end

      # Takes no more; what waits is still sent.
      # @return [void]
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

      CLOSED = "this publisher was replaced by a later configuration; use NoDevent::Emitter.publisher"

      private_constant :CLOSED

      private

      def publish_and_wait(channel, json, key, seconds)
        status, answer, trouble = @native.publish_and_wait(channel, json, key, seconds)
        case status
        when :ok then answer
        when :closed then raise Closed, CLOSED
        else raise PublishError, explain(status, answer, trouble, seconds)
        end
      end

      def check_key(key)
        return if key.nil?

        key = key.to_s
        return key if key.ascii_only? && key.match?(/\A[[:graph:] ]{1,255}\z/)

        raise ArgumentError, "an idempotency_key has 1 to 255 printable ASCII characters"
      end

      def explain(status, answer, trouble, seconds)
        case status
        when :full then "the queue to #{address} is full; #{@remedy}, or raise `publisher: { queue: }`"
        when :failed then answer
        else
          fate = answer ? "it was withdrawn" : "it may still arrive"
          "no answer from #{address} within #{seconds} s#{": #{trouble}" if trouble} (#{fate}); #{@remedy}"
        end
      end
    end
  end
end
