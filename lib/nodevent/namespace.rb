# frozen_string_literal: true

require "securerandom"

module NoDevent
  # One namespace of the configuration: emits events to its rooms and signs their keys. {NoDevent.namespace} returns
  # one; {Emitter} uses the default one.
  #
  # @example
  #   board = NoDevent.namespace("/board")
  #   board.emit(discussion, "update", discussion)
  #   board.room_key(discussion, 1.hour.from_now)
  class Namespace
    include Delivery

    # A position that became known in the last seconds is used without asking the engine.
    FRESH = 1.0
    # How long the key is valid with which a server is asked for a position. Seconds.
    READ_KEY_LIFETIME = 60
    # The form of a position. What else an engine reports does not reach pages.
    POSITION = /\A[0-9a-f]{16}:\d{1,20}\z/

    NOTIFY_OPTIONS = %i[ttl key timeout].freeze

    private_constant :FRESH, :READ_KEY_LIFETIME, :POSITION, :NOTIFY_OPTIONS

    class << self
      # @api private
      # @return [Namespace] the first of the configuration
      def default
        @default ||= new(nil)
      end

      # @api private
      # @return [Namespace] the namespace that a record's class selects with `nodevent_namespace`, or the default
      def of(object)
        return default unless object.is_a?(Base)

        name = (object.is_a?(::Module) ? object : Reflection.class_of(object)).nodevent_namespace
        name ? new(name) : default
      end
    end

    # @api private
    def initialize(name)
      @name = name
    end

    # @api private
    # @return [Native::FastPath, nil]
    attr_reader :fast_path

    # @return [String] the name with its leading slash
    # @raise [ConfigurationError]
    def name
      config.namespace
    end

    # @return [Configuration] the settings of this namespace
    # @raise [ConfigurationError] if the configuration does not contain it
    def config
      @name ? Emitter.config.namespaced(@name) : Emitter.config
    end

    # @param room see {Emitter.emit}
    # @param event see {Emitter.emit}
    # @param message see {Emitter.emit}
    # @param options see {Emitter.emit}
    # @return see {Emitter.emit}
    # @raise see {Emitter.emit}
    def emit(room, event, *message, **options)
      publish(room, event, *Emitter.arguments(event, message, options))
    end
    prepend Native::PlainEmit

    # @param rooms see {Emitter.to}
    # @param users see {Emitter.to}
    # @param broadcast see {Emitter.to}
    # @return see {Emitter.to}
    # @raise see {Emitter.to}
    def to(rooms: nil, users: nil, broadcast: false)
      Targets.new(self, rooms: rooms, users: users, broadcast: broadcast)
    end

    # Emits one event to several rooms. A page that is in more than one of them receives it once.
    # @api private
    def emit_copies(rooms, event, message, options = {})
      options = options.merge(publication_id: SecureRandom.alphanumeric(12)) if rooms.size > 1
      rooms.map { |room| publish(room, event, message, options) }.last
    end

    # {#emit} with separated arguments.
    # @api private
    def publish(room, event, message, options)
      return publish_plain(room, event, message) if options.empty?
      return if Silence.on?

      config = self.config
      room = room_name(room, config)
      emit_encoded(config, room, { room: room, event: Encoder.event_name(event), message: message }, options)
    rescue Ractor::Error => e
      raise PublishError.ractor(e)
    end

    # {#emit} without keywords, if the extension does not know the case; see {Native::FastPath}. If the publisher is the
    # native one, it allocates nothing besides the JSON of the message and the name of a record's room.
    # @api private
    def publish_plain(room, event, message)
      return if Thread.current[Silence::NAME]

      config = self.config
      room = Room.of(room) unless room.is_a?(::String)
      json = message.nil? ? "null" : Encoder.message(room, event, message)
      queued = queue(config, room, event, json, message)
      return queued unless queued.nil?

      room = room_name(room, config)
      event = Encoder.event_name(event)
      text = Encoder.publication(room, event, json, config, check: Encoder.unsure?(message))
      send_after_commit(config, room, event, text, {})
    rescue Ractor::Error => e
      raise PublishError.ractor(e)
    end

    # {#publish} with a message that is JSON already.
    # @api private
    # @raise [EncodingError] if it is not JSON
    def publish_json(room, event, json)
      return if Silence.on?

      config = self.config
      room = room_name(room, config)
      send_encoded(config, room, event, Encoder.wrap(room, event, json, config), {})
    rescue Ractor::Error => e
      raise PublishError.ractor(e)
    end

    # {Targets#emit} with separated arguments.
    # @api private
    def publish_to(targets, event, message, options)
      return if Silence.on?

      config = self.config
      targets.rooms.each { |room| room_name(room, config) }
      publication = { **targets.members, event: Encoder.event_name(event), message: message }
      emit_encoded(config, targets.to_s, publication, options)
    rescue Ractor::Error => e
      raise PublishError.ractor(e)
    end

    # @param user see {Emitter.notify}
    # @param event see {Emitter.notify}
    # @param message see {Emitter.notify}
    # @param options see {Emitter.notify}
    # @return see {Emitter.notify}
    # @raise see {Emitter.notify}
    def notify(user, event, message = nil, **options)
      unknown = options.keys - NOTIFY_OPTIONS
      raise ArgumentError, "unknown keyword: #{Text.value(unknown.first)}; put the message in braces" if unknown.any?
      return if Silence.on?

      Notification.deliver(config, user, event, message, options)
    end

    # @param object see {Room.of}
    # @param expires see {Emitter.room_key}
    # @return see {Emitter.room_key}
    # @raise see {Emitter.room_key}
    def room_key(object, expires)
      config = self.config
      sign(config, room_name(object, config), expires)
    end

    # @param object see {Room.of}
    # @return see {NoDevent.presence}
    # @raise see {NoDevent.presence}
    def presence(object)
      config = self.config
      room = room_name(object, config)
      is_signed = config.secret || config.token&.opens_rooms?
      lifetime = Presence.key_lifetime(config.key_rules.max_lifetime)
      Presence.read(config, room, is_signed ? sign(config, room, Time.now + lifetime) : nil)
    end

    # @param user see {NoDevent.connections}
    # @return see {NoDevent.connections}
    # @raise see {NoDevent.connections}
    def connections(user)
      Connections.read(config, User.id(user, "a request for connections"))
    end

    # The room's position when the current request started, from which a page catches up: the last one that this process
    # knows from before. If it knows none from the last second, it asks the engine: Redis, or the server.
    # @api private
    # @return [String, nil] nil outside of requests, without a history, and if the position is not known for certain
    def position(room)
      elapsed = RequestStart.elapsed or return

      config = self.config
      age = config.history[:default]&.fetch(:age) or return
      known = ->(max_age) { Native.position(config.namespace, room, elapsed, max_age) }
      position = known.call(FRESH + elapsed) || read_position(config, room, elapsed) || known.call(age / 1000.0)
      position if position&.match?(POSITION)
    end

    # @return [String] the URL of the browser script of this namespace
    # @raise [ConfigurationError]
    def url
      "#{Server.base(config)}/api#{config.namespace}"
    end

    def inspect
      "#<#{self.class} #{@name || 'default'}>"
    end

    private

    def sign(config, room, expires)
      # With tokens and without a secret, the server accepts only tokens.
      return Token.room_key(room, expires, config) if config.secret.nil? && config.token&.opens_rooms?

      rules = config.key_rules
      RoomKey.sign(room, expires, config.secret,
                   namespace: (config.namespace if rules.bound?), max_lifetime: rules.max_lifetime)
    end

    # Without a publisher of its own, the process cannot ask.
    def read_position(config, room, elapsed)
      return if Publisher.custom

      publisher = Publisher.current(config)
      return unless publisher.is_a?(Publisher::BackgroundPublisher)

      publisher.read_position(config.namespace, room, read_key(config, room), elapsed)
    rescue Error
      nil
    end

    # No key opens the streams of Action Cable, so the application reads them with the key with which it publishes.
    def read_key(config, room)
      is_signed = config.secret || config.token&.opens_rooms?
      return config.publish_key if config.protocols == [Cable::PROTOCOL] && !is_signed && config.publish_key

      lifetime = [READ_KEY_LIFETIME, config.key_rules.max_lifetime].compact.min
      sign(config, room, Time.now + lifetime)
    end

    # The server refuses joins of rooms with a longer name, so nothing can be received there.
    def room_name(object, config)
      room = Room.of(object)
      return room if room.bytesize <= config.max_room_name

      raise InvalidRoomError, "#{Text.value(room)} has a name longer than #{config.max_room_name} bytes, the " \
                              "server's limit (limits: max_room_name)"
    end
  end
end
