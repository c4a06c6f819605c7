# frozen_string_literal: true

module NoDevent
  # The targets of an event: rooms, users, and all connections. A connection that several of them reach receives the
  # event once. {Emitter.to} and {Namespace#to} return them.
  #
  # @example
  #   NoDevent::Emitter.to(users: comment.mentioned).emit("mention", comment)
  #   NoDevent::Emitter.to(rooms: [discussion, "moderators"], users: author).emit("report", comment, except: :page)
  #   NoDevent::Emitter.to(broadcast: true).emit("maintenance", minutes: 5)
  class Targets
    # The maximum number of targets of one event, which the server accepts.
    MAX = 1000

    # @api private
    # @param namespace [Namespace]
    # @param rooms [Object, Array] see {Room.of}
    # @param users [Object, Array] users, or their ids
    # @param broadcast [Boolean]
    # @raise [ArgumentError] if there are no targets, or too many, or a user has no id
    # @raise [InvalidRoomError]
    def initialize(namespace, rooms: nil, users: nil, broadcast: false)
      @namespace = namespace
      @rooms = self.class.list(rooms).map { |room| Room.of(room) }.uniq
      @users = self.class.list(users).map { |user| User.id(user, "a publication") }.uniq
      @broadcast = broadcast ? true : false
      count = @rooms.size + @users.size + (@broadcast ? 1 : 0)
      raise ArgumentError, "no targets; pass rooms:, users: or broadcast: true" if count.zero?
      raise ArgumentError, "#{count} targets; an event has at most #{MAX}" if count > MAX
    end

    # Emits an event to the targets.
    # @param event see {Emitter.emit}
    # @param message see {Emitter.emit}
    # @param options see {Emitter.emit}
    # @return see {Emitter.emit}
    # @raise see {Emitter.emit}
    def emit(event, *message, **options)
      @namespace.publish_to(self, event, *Emitter.arguments(event, message, options))
    end

    # @api private
    # @return [Array<String>] the rooms, whose names the namespace checks
    attr_reader :rooms

    # @api private
    # @return [Hash] the members of the publication
    def members
      { rooms: (@rooms if @rooms.any?), users: (@users if @users.any?), broadcast: (true if @broadcast) }.compact
    end

    # @return [String] for logs: `rooms a, b; user 42; all connections`
    def to_s
      [named("room", @rooms), named("user", @users), ("all connections" if @broadcast)].compact.join("; ")
    end

    def inspect
      "#<#{self.class} #{self}>"
    end

    # A relation and a set are lists, and a record, a Hash and text are not.
    # @api private
    def self.list(objects)
      return [] if objects.nil?
      return objects.to_ary if objects.respond_to?(:to_ary)

      objects.is_a?(Enumerable) && !objects.is_a?(Hash) && !objects.is_a?(Struct) ? objects.to_a : [objects]
    end

    private

    # The first names, and the number of the others.
    def named(noun, names)
      return if names.empty?

      more = names.size > 5 ? " and #{names.size - 5} more" : ""
      "#{noun}#{'s' if names.size > 1} #{names.first(5).join(', ')}#{more}"
    end
  end
end
