# frozen_string_literal: true

module NoDevent
  # Gives a model, or any other class with `to_param` or `id`, a room for each instance and one for the class.
  #
  # An application's own names win: if the class has an attribute, an association or a method `room`, `emit`, `room_key`
  # or `room_json`, that one is called. The methods with the prefix `nodevent_` always exist.
  #
  # @example
  #   class Discussion < ApplicationRecord
  #     include NoDevent::Base
  #     emits_changes message: ->(discussion) { discussion.slice(:id, :title) }
  #   end
  #
  #   Discussion.find(12).emit("typing", by: "Ada")   # room "Discussion_12"
  #   Discussion.emit("closed")                        # room "Discussion"
  module Base
    # The methods that an application may have too.
    SHARED_NAMES = %i[emit room_key room_json].freeze

    private_constant :SHARED_NAMES

    # Has methods with the names of {#emit}, {#nodevent_emit}, {#room} and {#nodevent_room} that do the same without
    # allocations, and call these in all cases that they do not know.
    prepend Native::RecordEmit

    def self.included(base)
      base.extend(self, ClassMethods, Changes)
      base.include(Record) if base.is_a?(Class) && base.respond_to?(:after_commit)
      warn_of_conflicts(base)
    end

    # @api private
    def self.warn_of_conflicts(base)
      return unless base.is_a?(Class)

      names = SHARED_NAMES.select { |name| Reflection.own_method?(base, name, self) }
      return if names.empty?

      Logger.log(:warn, "#{base} has its own #{names.join(', ')}, which NoDevent::Base does not " \
                        "replace; call #{names.map { |name| "nodevent_#{name}" }.join(', ')} instead")
    end
    private_class_method :warn_of_conflicts

    # Emits to {#room}.
    # @example
    #   discussion.emit("update")                    # sends the discussion
    #   discussion.emit("typing", by: "Ada")
    # @param arguments [Array] the event (a String or Symbol), and the message (`self` if it is `nil` or omitted)
    # @param options see {Emitter.emit}
    # @return see {Emitter.emit}
    # @raise see {Emitter.emit}
    def emit(...)
      return super if defined?(super) && Reflection.beneath?(self, :emit, Base)

      nodevent_emit(...)
    end

    # {#emit}, if the class has its own `emit`.
    # @example
    #   order.nodevent_emit("paid", { total: 12 })
    # @param name [String, Symbol] the event
    # @param message [#to_json] the message; `self` if it is `nil` or omitted
    # @param options see {#emit}
    # @return see {Emitter.emit}
    # @raise see {Emitter.emit}
    def nodevent_emit(name, *message, **options)
      message, options = Emitter.arguments(name, message, options, self)
      message = is_a?(Module) ? Reflection.name_of(self) : self if message.nil?
      Namespace.of(self).publish(self, name, message, options)
    rescue Ractor::Error => e
      raise PublishError.ractor(e)
    end

    # @example another room, which all methods of this module then use
    #   def room = "board-#{board_id}"
    # @return [String] the name of the room: `"Discussion_12"`, of the class `"Discussion"`. If the application has a
    #   `room`, what that returns
    # @raise [InvalidRoomError] if the instance has no `to_param` or `id` yet, or the class has no name
    def room(*, **)
      return super if defined?(super) && Reflection.beneath?(self, :room, Base)

      Room.without(self, :room)
    end

    # The name of the room, even if the class has its own `room`. Can be overridden like {#room}.
    # @example an association `room`
    #   message.room            # => #<Room id: 1>
    #   message.nodevent_room   # => "Message_7"
    # @return [String]
    # @raise see {#room}
    def nodevent_room
      # Called by `super` from an override, or directly.
      Room.application_method(self, :nodevent_room) ? Room.default(self) : Room.of(self)
    end

    # @example
    #   discussion.room_key(1.hour.from_now)
    # @param expires [Array] when the key expires; see {Emitter.room_key}
    # @return [String] a key for {#room}
    # @raise see {Emitter.room_key}
    def room_key(*expires, **)
      return super if defined?(super) && Reflection.beneath?(self, :room_key, Base)

      nodevent_room_key(*expires)
    end

    # {#room_key}, if the class has its own `room_key`.
    # @param expires see {Emitter.room_key}
    # @return [String]
    # @raise see {Emitter.room_key}
    def nodevent_room_key(expires)
      Namespace.of(self).room_key(self, expires)
    end

    # Room and key, for pages that load their state as JSON. In a message, without the key: others receive it too.
    # @example in a controller
    #   render json: discussion.as_json.merge(nodevent: discussion.room_json(10 * 60))
    # @param expires_after [Array] seconds from now, an hour by default
    # @return [Hash{Symbol => String}] `:room`, and a `:key` for it; in Rails also `:position` and `:key_url`, see
    #   {Helper#nodevent_data}. While a message is encoded, only `:room`
    # @raise [InvalidRoomError]
    # @raise [InvalidExpiryError] if the key would expire after 2286-11-20
    def room_json(*expires_after, **)
      return super if defined?(super) && Reflection.beneath?(self, :room_json, Base)

      nodevent_room_json(*expires_after)
    end

    # {#room_json}, if the class has its own `room_json`.
    # @param expires_after [Numeric] seconds from now, an hour by default
    # @return see {#room_json}
    def nodevent_room_json(expires_after = HOUR)
      room = Room.of(self)
      return { room: room } if Encoder.encoding?

      namespace = Namespace.of(self)
      { room: room, key: namespace.room_key(room, Time.now + expires_after), position: namespace.position(room),
        key_url: KeyEndpoint.url(namespace) }.compact
    end

    # Emits `create` with self to the room of the class, and to those of its parent classes with single-table
    # inheritance. For `after_create_commit`.
    # @return see {Emitter.emit}
    def nodevent_create
      namespace = Namespace.of(self)
      Room.of_hierarchy(Reflection.class_of(self)).map { |room| namespace.emit(room, "create", self) }.last
    end

    # Emits `update` with self to {#room}, and to the room that it had before the commit, if the name has changed. A
    # page that is in both receives the event once. For `after_update_commit`.
    # @return see {Emitter.emit}
    def nodevent_update
      nodevent_emit_to(Record.rooms(self), "update")
    end

    # Emits `destroy` with self to the same rooms as {#nodevent_update}. For `after_destroy_commit`.
    # @return see {Emitter.emit}
    def nodevent_destroy
      nodevent_emit_to(Record.rooms(self), "destroy")
    end

    private

    def nodevent_emit_to(rooms, event)
      Namespace.of(self).emit_copies(rooms, event, self)
    end

    # The macros of classes that include {Base}.
    module ClassMethods
      prepend Native::RecordNames

      # Names the rooms of the instances by something that never changes. Recommended if `to_param` is a slug.
      # @example
      #   nodevent_room_by :id                                            # "Post_12", whatever its slug is
      #   nodevent_room_by { |post| "#{post.tenant_id}-#{post.id}" }      # "Post_3-12"
      # @param names [Array<Symbol>] methods whose values are joined by `_`, which becomes `%5F` in all but the last
      #   value. Without names and block, returns the rule
      # @return [Symbol, Array<Symbol>, Proc, nil] the rule
      def nodevent_room_by(*names, &block)
        @nodevent_room_by = block || (names.size > 1 ? names : names.first) if block || names.any?
        @nodevent_room_by || (superclass.nodevent_room_by if superclass.respond_to?(:nodevent_room_by))
      end

      # Publishes the events of this class in another namespace than the default.
      # @example
      #   nodevent_namespace "/board"
      # @param name [String, nil] the namespace; `nil` returns the current one
      # @return [String, nil]
      def nodevent_namespace(name = nil)
        @nodevent_namespace = name if name
        @nodevent_namespace || (superclass.nodevent_namespace if superclass.respond_to?(:nodevent_namespace))
      end
    end
  end
end
