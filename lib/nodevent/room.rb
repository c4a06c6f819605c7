# frozen_string_literal: true

module NoDevent
  # Maps objects to the names of their rooms.
  module Room
    # The maximum length of a name.
    #
    # # Units
    # Bytes of UTF-8.
    MAX_BYTES = 255
    # Objects that have a `to_param` or `id` but no room.
    NO_ROOM = [NilClass, TrueClass, FalseClass, Float, Rational, Complex, Array, Hash, Proc].freeze

    # The fiber-local variable with the object whose own `room` is being called.
    RESOLVING = :nodevent_room_of

    private_constant :NO_ROOM, :RESOLVING

    class << self
      # @param object [String, Symbol, Integer, Module, #to_param, #id] the owner of the room
      # @return [String] the name of its room; a `room` method that the application defines takes precedence
      # @raise [InvalidRoomError] if it has no room
      def of(object)
        own?(object) ? of(own_room(object)) : default(object)
      end

      # @param object see {of}
      # @return [String] the name of its room, ignoring a `room` method that the application defines
      # @raise [InvalidRoomError] if it has no room
      def default(object)
        name = case object
               when String then object
               when Symbol, Integer, Module then object.is_a?(Module) ? object.name.to_s : object.to_s
               when *NO_ROOM then invalid!(object, "is not a room")
               else "#{object.class}_#{param(object)}"
               end
        check(object, name)
      end

      private

      # Whether the application has overridden {Base#room}, in the class, on the object, or by an association.
      def own?(object)
        object.is_a?(Base) && object.method(:room).owner != Base
      end

      # Detects a `room` method that calls `NoDevent::Emitter.room(self)`, which would recurse endlessly.
      def own_room(object)
        before = Thread.current[RESOLVING]
        if before.equal?(object)
          raise InvalidRoomError,
                "#{object.class}#room calls NoDevent::Emitter.room(self), which calls it again; write `super`"
        end

        Thread.current[RESOLVING] = object
        object.room
      ensure
        Thread.current[RESOLVING] = before
      end

      def param(object)
        param = if own_to_param?(object) then object.to_param
                elsif object.respond_to?(:id) then object.id
                end
        return param unless param.nil? || param.to_s.empty?

        invalid!(object, "has no to_param or id yet; emit after it is saved")
      end

      # Active Support gives every object a `to_param` that returns `to_s`, which is not a name.
      def own_to_param?(object)
        object.respond_to?(:to_param) && object.method(:to_param).owner != Object
      end

      def check(object, name)
        name = name.encode(Encoding::UTF_8) unless name.encoding == Encoding::UTF_8
        invalid!(object, "is not valid UTF-8") unless name.valid_encoding?
        invalid!(object, "has no name") if name.strip.empty?
        invalid!(object, "has a name longer than #{MAX_BYTES} bytes") if name.bytesize > MAX_BYTES
        name
      rescue ::EncodingError
        invalid!(object, "cannot be converted to UTF-8")
      end

      def invalid!(object, problem)
        what = object.is_a?(String) ? object.inspect[0, 60] : "#{object.class} #{describe(object)}".strip
        raise InvalidRoomError, "#{what} #{problem}. A room is a String, a Symbol, an Integer, a Class, " \
                                "a saved record, or an object with to_param or id."
      end

      def describe(object)
        case object
        when nil, true, false then object.inspect
        when Module then object.name.to_s
        else ""
        end
      end
    end
  end
end
