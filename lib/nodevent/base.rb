# frozen_string_literal: true

module NoDevent
  # Gives a model, or any other class with `to_param` or `id`, a room for each instance and one for the class.
  #
  # @example
  #   class Discussion < ApplicationRecord
  #     include NoDevent::Base
  #     emits_changes
  #   end
  #
  #   Discussion.find(12).emit("typing", by: "Ada")   # room "Discussion_12"
  #   Discussion.emit("closed")                        # room "Discussion"
  module Base
    def self.included(base)
      base.extend(self, Changes)
    end

    # Emits to {#room}.
    # @example
    #   discussion.emit("update")                    # sends the discussion
    #   discussion.emit("typing", by: "Ada")
    # @param name [String, Symbol] the event
    # @param message [#to_json] the message; `self` if it is `nil` or omitted
    # @param options see {Emitter.emit}
    # @return see {Emitter.emit}
    # @raise see {Emitter.emit}
    def emit(name, *message, **options)
      message, options = Emitter.arguments(message, options)
      message = is_a?(Module) ? self.name : self if message.nil?
      Emitter.emit(room, name, message, **options)
    end

    # @example another room, which all methods of this module then use
    #   def room = "board-#{board_id}"
    # @return [String] the name of the room: `"Discussion_12"`, of the class `"Discussion"`
    # @raise [InvalidRoomError] if the instance has no `to_param` or `id` yet, or the class has no name
    def room
      Room.default(self)
    end

    # @example
    #   discussion.room_key(1.hour.from_now)
    # @param expires see {Emitter.room_key}
    # @return [String] a key for {#room}
    # @raise see {Emitter.room_key}
    def room_key(expires)
      Emitter.room_key(room, expires)
    end

    # Room and key, for pages that load their state as JSON.
    # @example
    #   def as_json(*) = super.merge(nodevent: room_json(10 * 60))
    # @param expires_after [Numeric] seconds from now, an hour by default
    # @return [Hash{Symbol => String}] `:room`, and a `:key` for it
    # @raise [InvalidRoomError]
    # @raise [InvalidExpiryError] if the key would expire after 2286-11-20
    def room_json(expires_after = HOUR)
      { room: room, key: room_key(Time.now + expires_after) }
    end

    # Emits `create` with self to the room of the class. For `after_create_commit`.
    # @return see {Emitter.emit}
    def nodevent_create
      Emitter.emit(self.class.room, "create", self)
    end

    # Emits `update` with self to {#room}. For `after_update_commit`.
    # @return see {Emitter.emit}
    def nodevent_update
      Emitter.emit(room, "update", self)
    end

    # Emits `destroy` with self to {#room}. For `after_destroy_commit`.
    # @return see {Emitter.emit}
    def nodevent_destroy
      Emitter.emit(room, "destroy", self)
    end
  end
end
