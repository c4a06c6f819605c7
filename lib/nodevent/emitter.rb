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

      # Replaces the whole configuration: what is not given is as by default.
      # @param settings [Hash, Configuration, nil] `host`, `namespace`, `secret`, `redis`, `url`, `publish_key`, …, with
      #   Strings or Symbols as keys; `nil` goes back to the file
      # @raise [ConfigurationError] and leaves the old configuration in force
      def config=(settings)
        config = settings.nil? ? nil : Configuration.from(settings)
        Publisher.forget
        @config = config
      end

      # Emits an event to all who are in a room. Never waits for the engine and never raises because it is away:
      # what cannot be sent is kept in a bounded queue, counted ({NoDevent.stats}) and reported ({NoDevent.on_error}).
      #
      # @param room see {Room.of}
      # @param event [String, Symbol]
      # @param message [#to_json] anything that can be JSON; `nil` by default
      # @param wait [Boolean] wait until the engine has it
      # @param timeout [Numeric] seconds to wait at most; by default `publisher: { timeout: }`, 5 s
      # @param idempotency_key [String] a repeated emission with the same key is published once
      # @return [true, false, nil, Integer, String] `true`: queued; `false`: not, because the queue is full or a
      #   publisher of the application's own failed; `nil`: {NoDevent.silence}. With `wait: true`, what the engine says:
      #   Redis the number of servers that heard it, a server the position in the room's history, or `true`. A publisher
      #   that does not queue, such as `$redis`, gives its own answer
      # @raise [InvalidRoomError, InvalidEventError, EncodingError, ConfigurationError]
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

      # @param object see {Room.of}
      # @return [String] the name of its room
      # @raise [InvalidRoomError]
      def room(object)
        Room.of(object)
      end

      # @param object see {Room.of}
      # @param expires [Time, Numeric, String, #to_f] when the key ends; numbers are seconds since 1970
      # @return [String] what lets a browser join the room until then
      # @raise [InvalidRoomError, InvalidExpiryError]
      def room_key(object, expires)
        RoomKey.sign(Room.of(object), expires, config.secret)
      end

      # @return [#publish] what answers `publish(channel, json)`: what {publisher=} was given; else the native publisher
      #   if `redis` or `url` is configured; else `$redis`; else the native one to the server at `host`
      # @raise [ConfigurationError] if there is none
      def publisher
        Publisher.current(config)
      end

      # @param publisher [#publish, nil] any object of the application's own; `nil` goes back to the configured one
      def publisher=(publisher)
        Publisher.replacement = publisher
      end

      # Tells message and options apart: `emit(room, "moved", x: 1)` has a message without braces.
      # @api private
      def arguments(message, options)
        raise ArgumentError, "wrong number of arguments: one message at most" if message.size > 1

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
        raise EncodingError, "the message of #{event.inspect} to #{room.inspect} cannot be JSON: #{e.message[0, 200]}"
      end
    end
  end
end
