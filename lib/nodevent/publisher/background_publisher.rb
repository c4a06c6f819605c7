# frozen_string_literal: true

require "json"
require "nodevent/publisher/reporter"

module NoDevent
  module Publisher
    # The native publisher: a bounded queue, and a background thread that publishes to Redis or a NoDevent server, in
    # order, across lost connections. After a `fork`, the child has its own queue and thread.
    class BackgroundPublisher
      # The configuration of this publisher was replaced by a later one.
      class Closed < PublishError; end

      # The hint if the engine does not respond.
      # @api private
      def self.hint(http:)
        http ? "start the server with `nodevent`, or configure `redis:`" : "check that Redis is running"
      end

      # @param config [Configuration]
      # @raise [ConfigurationError] if the address is invalid
      def initialize(config)
        @timeout = config.publisher.timeout
        @max_size = Encoder.limit(config)
        @hint = self.class.hint(http: config.redis.nil?)
        @native = Native::Publisher.new(JSON.generate(Configuration::NativeTarget.of(config)))
        Reporter.at_exit(config.publisher.shutdown_timeout)
      rescue ArgumentError => e
        raise ConfigurationError, e.message
      end

      # @param channel [String] the namespace
      # @param json [String] the publication
      # @param wait see {Emitter.emit}
      # @param timeout see {Emitter.emit}
      # @param idempotency_key see {Emitter.emit}
      # @return [true, false, Integer, String] `true` if queued, `false` if the queue is full; with `wait: true` the
      #   engine's result
      # @raise [PublishError] with `wait: true`
      def publish(channel, json, wait: false, timeout: nil, idempotency_key: nil)
        Reporter.start
        key = check_key(idempotency_key)
        json = Trace.add(json, @max_size)
        return publish_and_wait(channel, json, key, Float(timeout || @timeout)) if wait

        queued = @native.publish(channel, json, key)
        raise Closed, CLOSED if queued.nil?

        Reporter.published
        queued
      end

      # Publishes the JSON of a message to a room. Allocates nothing.
      # @api private
      # @param route [Configuration::Route]
      # @param check [Boolean] whether `json` may be other text than JSON
      # @return [true, false, nil, 0] as the queue responds: `nil` if it is closed. `0`: the publication must be written
      #   in Ruby, or raises an error there
      def publish_message(room, event, json, route, check)
        return 0 if Trace.parent

        Reporter.start
        queued = @native.publish_message(route.channel, room, event, json, route.max_room, route.max_size, check)
        Reporter.published
        queued
      end

      # @api private
      # @param route [Configuration::Route]
      # @return [Native::FastPath, nil] what makes the next calls of `emit` cheap, unless they have something to ask
      def fast_path(route)
        return unless route.is_native && Reporter.running?
        # Parts of Active Support may be loaded later.
        return unless Encoder.active_support? ? defined?(::ActiveSupport::Notifications) : !defined?(::ActiveSupport)

        json = Encoder.active_support? ? ::ActiveSupport::JSON : nil
        Native::FastPath.new(@native, route.channel, route.max_room, route.max_size, json)
      end

      # @param timeout [Numeric] seconds
      # @return [Boolean] whether everything published so far has reached the engine
      def flush(timeout = 5)
        @native.flush(Float(timeout))
      end

      # How long a request may wait for a position. After a failure, nothing is read for 5 s, and then for up to a
      # minute.
      #
      # # Units
      # Seconds.
      READ_TIMEOUT = 0.2

      private_constant :READ_TIMEOUT

      # @api private
      # @param namespace [String]
      # @param room [String]
      # @param key [String] a key for the room, which a server requires
      # @param elapsed [Float] seconds
      # @return [String, nil] the room's position, if nothing was published to it for `elapsed` seconds
      def read_position(namespace, room, key, elapsed)
        @native.read_position(namespace, room, key, elapsed, READ_TIMEOUT)
      end

      # Stores a message in the mailboxes of users, if this publishes to Redis.
      # @api private
      # @param json [String] as a server would receive it
      # @param seconds [Numeric] the maximum wait
      # @return [Array<String, nil>] the ids, in the order of the users
      # @raise [ConfigurationError] if the namespace has no mailboxes
      # @raise [PublishError]
      def notify(json, seconds)
        status, result = @native.notify(json, Float(seconds))
        case status
        when :ok then result
        when :none then raise ConfigurationError, NO_MAILBOXES
        when :invalid then raise PublishError, "the message was not stored: #{result}"
        else
          reason = status == :timeout ? "no response within #{seconds} s" : result
          raise PublishError, "no confirmation from #{address}: #{reason}; the message may have been stored; send it " \
                              "again with the same `key:`"
        end
      end

      # Accepts no more publications; those in the queue are still sent.
      # @return [void]
      def close
        @native.close
      end

      # @return [Integer] the number of publications that are queued or in flight
      def pending
        @native.pending
      end

      # @return [String] the address it publishes to, without user and password
      def address
        @native.address
      end

      def inspect
        "#<#{self.class} #{address}>"
      end

      CLOSED = "this publisher was replaced by a later configuration; use NoDevent::Emitter.publisher"

      NO_MAILBOXES = "the namespace has no mailboxes; write `mailbox: on` below it in the configuration that the " \
                     "gem and the server read"

      private_constant :CLOSED, :NO_MAILBOXES

      private

      def publish_and_wait(channel, json, key, seconds)
        status, result, error = @native.publish_and_wait(channel, json, key, seconds)
        case status
        when :ok then result
        when :closed then raise Closed, CLOSED
        else raise PublishError, explain(status, result, error, seconds)
        end
      end

      def check_key(key)
        return if key.nil?

        key = key.to_s
        return key if key.ascii_only? && key.match?(/\A[[:graph:] ]{1,255}\z/)

        raise ArgumentError, "invalid idempotency_key: must be 1 to 255 printable ASCII characters"
      end

      def explain(status, result, error, seconds)
        case status
        when :full then "the queue to #{address} is full; #{@hint}, or raise `publisher: { queue: }`"
        when :failed then result
        else
          outcome = result ? "the publication was withdrawn" : "the publication may still arrive"
          "no response from #{address} within #{seconds} s#{": #{error}" if error} (#{outcome}); #{@hint}"
        end
      end
    end
  end
end
