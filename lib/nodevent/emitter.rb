# frozen_string_literal: true

module NoDevent
  # Emits events to rooms, and signs room keys.
  module Emitter
    OPTIONS = %i[wait timeout idempotency_key except after_commit].freeze
    EMPTY = {}.freeze

    private_constant :OPTIONS, :EMPTY

    class << self
      # @return [Configuration] the configuration in use: the one given to {config=}, else that of `config/nodevent.yml`
      #   (or of the file named by NODEVENT_CONFIG), else the defaults
      def config
        @config || Publisher.synchronize { @config ||= Configuration.load_default }
      end

      # Replaces the whole configuration; missing keys have their defaults. Earlier publications still go to the engine
      # configured when they were emitted.
      # @example in config/initializers/nodevent.rb, instead of config/nodevent.yml
      #   NoDevent::Emitter.config = {
      #     public_url: "https://live.example.com", namespace: "/board", secret: ENV.fetch("NODEVENT_SECRET"),
      #     redis: { url: ENV.fetch("REDIS_URL") }
      #   }
      # @param settings [Hash, Configuration, nil] with Strings or Symbols as keys; `nil` returns to the file. The
      #   keys are those of the file: `public_url` (String, the server's address for browsers), `namespace` (String),
      #   `secret` (String), `redis` (a URL, or a Hash of `url` or `host`, `port`, `db`, `username`, `password`, `tls`,
      #   `sentinel`, `cluster`), `url` (String, the server to publish to over HTTP), `publish_key` (String), `history`
      #   (Hash of `size` and `age`, or `"off"`), `publisher` (Hash of `queue`, `queue_bytes`, `timeout`,
      #   `shutdown_timeout`)
      # @return [void]
      # @raise [ConfigurationError] if the configuration is invalid; the old one stays in use
      def config=(settings)
        config = settings.nil? ? nil : Configuration.from(settings)
        @config = config
        Publisher.reset!
      end

      # Emits an event to all members of a room. Neither waits for the engine nor raises if it is unavailable: unsent
      # publications stay in a bounded queue, are counted ({NoDevent.stats}) and reported ({NoDevent.on_error}).
      #
      # @example
      #   NoDevent::Emitter.emit("lobby", "gong", 3)
      #   NoDevent::Emitter.emit(discussion, "update", discussion)    # room "Discussion_12", its as_json
      # @example in a transaction
      #   NoDevent::Emitter.emit(order, "paid", order, after_commit: true)
      # @example with confirmation
      #   NoDevent::Emitter.emit(order, "paid", order, wait: true, timeout: 2, idempotency_key: "paid-#{order.id}")
      # @param room see {Room.of}
      # @param event [String, Symbol]
      # @param message [#to_json] an object that can be converted to JSON; `nil` by default
      # @param options [Hash] the options below
      # @option options [Boolean] :wait wait until the engine has accepted the publication
      # @option options [Numeric] :timeout the maximum wait in seconds; by default `publisher: { timeout: }`, 5 s
      # @option options [String] :idempotency_key repeated publications with the same key are published once; 1 to 255
      #   printable ASCII characters
      # @option options [:page, String, ActionDispatch::Request, Rack::Request] :except a page that does not receive the
      #   event: `:page` is the one that made the current request; see {Page}
      # @option options [Boolean] :after_commit wait for the commit of the transactions of Active Record that are open
      #   in this thread, in all databases. If one is rolled back, nothing is emitted. The message is converted to JSON
      #   at once. Without an open transaction, the event is emitted at once. By default `NoDevent.after_commit`
      # @return [true, false, nil, Integer, String, :after_commit] `:after_commit`: it waits for a commit; `true`:
      #   queued; `false`: not queued, because the queue is full or a custom publisher failed; `nil`: silenced by
      #   {NoDevent.silence}. With `wait: true`, the engine's result: the number of subscribed servers from Redis; the
      #   position in the room's history, or `true`, from a server. For a publisher without a queue, such as `$redis`,
      #   its return value
      # @raise [InvalidRoomError] if the first argument does not name a room
      # @raise [InvalidEventError] if the event is not a non-empty String or Symbol
      # @raise [EncodingError] if the message cannot be converted to JSON
      # @raise [MessageTooLargeError] if the publication is larger than the server's `limits: max_publish_size`
      # @raise [ConfigurationError] on first use, if the configuration is invalid or names nothing to publish to
      # @raise [ArgumentError] for unknown options, for a message without braces next to options, for options without a
      #   message, and for `wait: true` with `after_commit: true`
      # @raise [PublishError] with `wait: true`, if the engine does not accept the publication in time
      def emit(room, event, *message, **options)
        Namespace.default.publish(room, event, *arguments(event, message, options))
      rescue Ractor::Error => e
        raise PublishError.ractor(e)
      end

      # {emit} without keywords; see {Native::PlainEmit}.
      # @api private
      def publish_plain(room, event, message)
        namespace = Namespace.default
        result = namespace.publish_plain(room, event, message)
        @fast_path = namespace.fast_path
        result
      rescue Ractor::Error => e
        raise PublishError.ractor(e)
      end
      prepend Native::PlainEmit

      # Sends a message to the mailbox of a user, or to those of several. It stays there until one of the user's pages
      # acknowledges it or its time is over. Waits for Redis, or else for the server, which confirms it.
      #
      # @example
      #   NoDevent::Emitter.notify(comment.author, "mention", comment)
      #   NoDevent::Emitter.notify(room.members, "invitation", room, ttl: 1.day, key: "invitation-#{room.id}")
      # @param user [String, Symbol, Integer, #id, Array] the user or its id, as for {Token.issue}; or several
      # @param event [String, Symbol]
      # @param message [#to_json]
      # @param options [Hash] the options below
      # @option options [Numeric] :ttl how long the message is worth reading, in seconds
      # @option options [String] :key repeated messages with the same key are stored once; 1 to 255 bytes
      # @option options [Numeric] :timeout the maximum wait in seconds; by default `publisher: { timeout: }`, 5 s
      # @return [String, nil, Array<String, nil>] the id of the message; `nil` if the server stores nothing for the
      #   user, who was not connected within `mailbox: age`. For several users, an Array in their order
      # @raise [ArgumentError] if a user has no id, or `ttl` or `key` is invalid
      # @raise [InvalidEventError] if the event is not a non-empty String or Symbol
      # @raise [EncodingError] if the message cannot be converted to JSON
      # @raise [PublishError] if it is not confirmed in time, or rejected
      # @raise [ConfigurationError] if the configuration is invalid, or has `redis` and no `mailbox`
      def notify(user, event, message = nil, **options)
        Namespace.default.notify(user, event, message, **options)
      end

      # Addresses users, several rooms, or all connections. A connection that several of the targets reach receives the
      # event once. Users are connected with a token; see {Token}.
      # @example
      #   NoDevent::Emitter.to(users: current_user).emit("signed_in_elsewhere")
      #   NoDevent::Emitter.to(users: [ann, 43], rooms: discussion).emit("mention", comment)
      #   NoDevent::Emitter.to(broadcast: true).emit("maintenance", minutes: 5)
      # @param rooms [Object, Array] see {Room.of}
      # @param users [Object, Array] users, or their ids
      # @param broadcast [Boolean] all connections of the namespace
      # @return [Targets] its method `emit` takes the arguments of {emit} without the room
      # @raise [ArgumentError] without a target, with more than 1,000, or if a user has no id
      # @raise [InvalidRoomError]
      def to(rooms: nil, users: nil, broadcast: false)
        Namespace.default.to(rooms: rooms, users: users, broadcast: broadcast)
      end

      # @example
      #   NoDevent::Emitter.room(Discussion.find(12))   # => "Discussion_12"
      # @param object see {Room.of}
      # @return [String] the name of its room
      # @raise [InvalidRoomError]
      def room(object)
        Room.of(object)
      end

      # Signs a key for one room. Any client that has the key can join until it expires, so give it only to users who
      # are allowed to read the room.
      # @example
      #   NoDevent::Emitter.room_key(discussion, 10.minutes.from_now)   # => "29724deba9cc…:4102444800000"
      # @param object see {Room.of}
      # @param expires [Time, Numeric, String, #to_f] when the key expires; numbers are seconds since 1970
      # @return [String] the key: 64 hexadecimal digits, a colon, and the expiry in milliseconds
      # @raise [InvalidRoomError]
      # @raise [InvalidExpiryError] if `expires` is not a time between 2001-09-09 and 2286-11-20 (`1.hour`, for example)
      def room_key(object, expires)
        Namespace.default.room_key(object, expires)
      end

      # @return [#publish] an object with `publish(channel, json)`: the one given to {publisher=}; else the native
      #   publisher, if `redis` or `url` is configured; else `$redis`; else the native one, to the server at
      #   `public_url`
      # @raise [ConfigurationError] if there is none
      def publisher
        Publisher.current(config)
      end

      # Publishes through a custom publisher. It is called as `publish(channel, json)`, where `channel` is the namespace
      # with its slash, and `json` is `{"room":…,"event":…,"message":…}`; and also with `wait:`, `timeout:` and
      # `idempotency_key:`, if it accepts them. `emit` returns its return value. Its exceptions are reported to
      # {NoDevent.on_error}, and raised as {PublishError} only with `wait: true`; but {Error}, ArgumentError, NameError
      # and TypeError are always raised. With methods `notify(namespace, json)` and `revoke(namespace, json)` it also
      # receives messages for mailboxes and revocations, as they would be sent to the server. `notify` returns ids.
      # @example
      #   class Loud
      #     def publish(channel, json) = puts("#{channel} #{json}")
      #   end
      #   NoDevent::Emitter.publisher = Loud.new
      # @param publisher [#publish, nil] `nil` returns to the configured publisher
      # @return [void]
      def publisher=(publisher)
        Publisher.custom = publisher
      end

      # Separates message and options. `emit(room, "moved", x: 1)` has a message without braces; but a message is never
      # taken for options, nor are options for a message.
      # @api private
      # @param receiver [Base, nil] the record that emits, for error messages
      def arguments(event, message, options, receiver = nil)
        if message.size > 1
          raise ArgumentError, "too many arguments: pass one message; put several values into an Array or a Hash"
        end
        return [message.first, EMPTY] if options.empty?

        unknown = options.keys - OPTIONS
        return [options, EMPTY] if message.empty? && unknown.size == options.size
        return [message.first, options] if !message.empty? && unknown.empty?

        raise ArgumentError, unclear(message, options, unknown, "emit(#{'…, ' unless receiver}#{Text.value(event)}")
      end

      private

      def unclear(message, options, unknown, call)
        if unknown.include?(:namespace)
          wanted = Text.value(options[:namespace])
          return "unknown keyword: :namespace; write NoDevent.namespace(#{wanted}).emit(…), or " \
                 "nodevent_namespace #{wanted} in the class"
        end
        if !message.empty? || unknown.any?
          return "unknown keyword: #{Text.value(unknown.first)}; put the message in braces"
        end

        written = options.map { |name, value| "#{name}: #{Text.value(value)}" }.join(", ")
        "ambiguous call: write `#{call}, { #{written} })` to send this as the message, or " \
          "`#{call}, nil, #{written})` to pass options"
      end
    end
  end
end
