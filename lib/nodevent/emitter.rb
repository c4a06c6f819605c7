# frozen_string_literal: true

require "json"

module NoDevent
  # Says that something happened in a room.
  module Emitter
    OPTIONS = %i[wait timeout idempotency_key].freeze

    private_constant :OPTIONS

    class << self
      # @return [Configuration] what is in force: what {config=} was given, else `config/nodevent.yml` (or the file
      #   that NODEVENT_CONFIG names), else the defaults
      def config
        @config || Publisher::LOCK.synchronize { @config ||= Configuration.found }
      end

      # Replaces the whole configuration: what is not given is as by default. What was emitted before goes where it was
      # meant to go.
      # @example in config/initializers/nodevent.rb, instead of config/nodevent.yml
      #   NoDevent::Emitter.config = {
      #     host: "https://live.example.com", namespace: "/board", secret: ENV.fetch("NODEVENT_SECRET"),
      #     redis: { url: ENV.fetch("REDIS_URL") }
      #   }
      # @param settings [Hash, Configuration, nil] with Strings or Symbols as keys; `nil` goes back to the file. The
      #   keys are those of the file: `host` (String, where browsers find the server), `namespace` (String), `secret`
      #   (String), `redis` (a URL, or a Hash of `url` or `host`, `port`, `db`, `username`, `password`, `tls`,
      #   `sentinel`, `cluster`), `url` (String, where to publish over HTTP), `publish_key` (String), `history` (Hash
      #   of `size` and `age`, or `"off"`), `publisher` (Hash of `queue`, `queue_bytes`, `timeout`, `flush`)
      # @return [void]
      # @raise [ConfigurationError] and leaves the old configuration in force
      def config=(settings)
        config = settings.nil? ? nil : Configuration.from(settings)
        @config = config
        Publisher.forget
      end

      # Emits an event to all who are in a room. Never waits for the engine and never raises because it is away:
      # what cannot be sent is kept in a bounded queue, counted ({NoDevent.stats}) and reported ({NoDevent.on_error}).
      #
      # @example
      #   NoDevent::Emitter.emit("lobby", "gong", 3)
      #   NoDevent::Emitter.emit(discussion, "update", discussion)    # room "Discussion_12", its as_json
      # @example where the caller must know
      #   NoDevent::Emitter.emit(order, "paid", order, wait: true, timeout: 2, idempotency_key: "paid-#{order.id}")
      # @param room see {Room.of}
      # @param event [String, Symbol]
      # @param message [#to_json] anything that can be JSON; `nil` by default
      # @param options [Hash] how; where no other keywords are there
      # @option options [Boolean] :wait wait until the engine has it
      # @option options [Numeric] :timeout seconds to wait at most; by default `publisher: { timeout: }`, 5 s
      # @option options [String] :idempotency_key a repeated emission with the same key is published once; 1 to 255
      #   printable ASCII characters
      # @return [true, false, nil, Integer, String] `true`: queued; `false`: not, because the queue is full or a
      #   publisher of the application's own failed; `nil`: {NoDevent.silence}. With `wait: true`, what the engine says:
      #   Redis the number of servers that heard it, a server the position in the room's history, or `true`. A publisher
      #   that does not queue, such as `$redis`, gives its own answer
      # @raise [InvalidRoomError] if the first argument names no room
      # @raise [InvalidEventError] if the event is no String or Symbol, or empty
      # @raise [EncodingError] if the message cannot be JSON
      # @raise [ConfigurationError] at the first use, if the configuration is wrong or names nothing to publish with
      # @raise [ArgumentError] of unknown options, or a message without braces beside options
      # @raise [PublishError] with `wait: true`, if the engine does not have it in time
      def emit(room, event, *message, **options)
        message, options = arguments(message, options)
        return if Silence.on?

        room = Room.of(room)
        event = event_name(event)
        json = encode(room, event, message)
        channel = config.namespace
        payload = { room: room, event: event, channel: channel, bytes: json.bytesize }
        Instrumentation.instrument("emit.nodevent", payload) do |seen|
          seen[:result] = deliver(channel, json, options)
        end
      end

      # @example
      #   NoDevent::Emitter.room(Discussion.find(12))   # => "Discussion_12"
      # @param object see {Room.of}
      # @return [String] the name of its room
      # @raise [InvalidRoomError]
      def room(object)
        Room.of(object)
      end

      # Signs a key for one room. Whoever has it may join until it ends: give it to nobody who may not hear the room.
      # @example
      #   NoDevent::Emitter.room_key(discussion, 10.minutes.from_now)   # => "29724deba9cc…:4102444800000"
      # @param object see {Room.of}
      # @param expires [Time, Numeric, String, #to_f] when the key ends; numbers are seconds since 1970
      # @return [String] what lets a browser join the room until then: 64 hexadecimal digits, a colon, milliseconds
      # @raise [InvalidRoomError]
      # @raise [InvalidExpiryError] if that is no time between 2001-09-09 and 2286-11-20, such as `1.hour`
      def room_key(object, expires)
        RoomKey.sign(Room.of(object), expires, config.secret)
      end

      # @return [#publish] what answers `publish(channel, json)`: what {publisher=} was given; else the native publisher
      #   if `redis` or `url` is configured; else `$redis`; else the native one to the server at `host`
      # @raise [ConfigurationError] if there is none
      def publisher
        Publisher.current(config)
      end

      # Publishes through an object of the application's own. It is called as `publish(channel, json)`: the namespace
      # with its slash, and `{"room":…,"event":…,"message":…}`; with `wait:`, `timeout:` and `idempotency_key:` too,
      # where it takes them. What it returns, `emit` returns. What it raises is reported by {NoDevent.on_error}, and
      # raised as {PublishError} only with `wait: true`; but {Error}, ArgumentError, NameError and TypeError always are.
      # @example
      #   class Loud
      #     def publish(channel, json) = puts("#{channel} #{json}")
      #   end
      #   NoDevent::Emitter.publisher = Loud.new
      # @param publisher [#publish, nil] `nil` goes back to the configured one
      # @return [void]
      def publisher=(publisher)
        Publisher.replacement = publisher
      end

      # Tells message and options apart: `emit(room, "moved", x: 1)` has a message without braces.
      # @api private
      def arguments(message, options)
        if message.size > 1
          raise ArgumentError, "wrong number of arguments: one message at most; put several into an Array or a Hash"
        end

        unknown = options.keys - OPTIONS
        return [message.first, options] if unknown.empty?
        return [options, {}] if message.empty? && unknown.size == options.size

        raise ArgumentError, "unknown keyword: #{unknown.first.inspect}; put the message in braces"
      end

      private

      def deliver(channel, json, options)
        chosen = publisher
        Publisher.deliver(chosen, channel, json, **options)
      rescue Publisher::Queued::Closed
        # Another thread has replaced the configuration between the choice of the publisher and its use.
        chosen.equal?(publisher) ? raise : retry
      end

      def event_name(event)
        name = event.to_s if event.is_a?(String) || event.is_a?(Symbol)
        return name unless name.nil? || name.empty?

        raise InvalidEventError, "#{event.inspect} is no event; an event is a String or Symbol that is not empty"
      end

      def encode(room, event, message)
        { room: room, event: event, message: message }.to_json
      rescue JSON::GeneratorError, ::EncodingError => e
        raise EncodingError, "the message of #{event.inspect} to #{room.inspect} cannot be JSON: " \
                             "#{e.message[0, 200]}; text must be valid UTF-8 and numbers finite: clean them, or " \
                             "choose what is sent by as_json"
      end
    end
  end
end
