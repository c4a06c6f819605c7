# frozen_string_literal: true

module NoDevent
  # For models, and any other class with a `to_param` or `id`: its instances and the class itself have a room.
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
    # @param name [String, Symbol] the event
    # @param message [#to_json] what is sent; `self` if it is `nil` or left out
    # @param options see {Emitter.emit}
    # @return see {Emitter.emit}
    def emit(name, *message, **options)
      message, options = Emitter.arguments(message, options)
      message = is_a?(Module) ? self.name : self if message.nil?
      Emitter.emit(room, name, message, **options)
    end

    # @return [String] the name of the room. Override it to choose another; everything here follows
    def room
      Room.default(self)
    end

    # @param expires see {Emitter.room_key}
    # @return [String] a key for {#room}
    def room_key(expires)
      Emitter.room_key(room, expires)
    end

    # @param expires_after [Numeric] seconds from now
    # @return [Hash{Symbol => String}] `:room`, and a `:key` for it, for the page
    def room_json(expires_after = HOUR)
      { room: room, key: room_key(Time.now + expires_after) }
    end

    # Emits `create` with self to the room of the class. For `after_create_commit`.
    def nodevent_create
      Emitter.emit(self.class.room, "create", self)
    end

    # Emits `update` with self to {#room}. For `after_update_commit`.
    def nodevent_update
      Emitter.emit(room, "update", self)
    end

    # Emits `destroy` with self to {#room}. For `after_destroy_commit`.
    def nodevent_destroy
      Emitter.emit(room, "destroy", self)
    end
  end
end
