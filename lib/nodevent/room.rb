# frozen_string_literal: true

module NoDevent
  # The names of rooms: the one place that says which room an object means.
  module Room
    # The longest name, in bytes of UTF-8.
    MAX_BYTES = 255
    # Ruby has a `to_param` or `id` for these, but no room.
    NO_ROOM = [NilClass, TrueClass, FalseClass, Float, Rational, Complex, Array, Hash, Proc].freeze

    # Names the object whose own `room` is being asked.
    ASKED = :nodevent_room_of

    private_constant :NO_ROOM, :ASKED

    class << self
      # @param object [String, Symbol, Integer, Module, #to_param, #id] what the room belongs to
      # @return [String] the name of its room; a `room` method of its own decides before everything else
      # @raise [InvalidRoomError] if it has none
      def of(object)
        own?(object) ? of(ask(object)) : default(object)
      end

      # @param object see {of}
      # @return [String] the name of its room if it says nothing else
      # @raise [InvalidRoomError] if it has none
      def default(object)
        name = case object
               when String then object
               when Symbol, Integer, Module then object.is_a?(Module) ? object.name.to_s : object.to_s
               when *NO_ROOM then refuse(object, "is no room")
               else "#{object.class}_#{param(object)}"
               end
        check(object, name)
      end

      private

      # Whether the application has overridden {Base#room}, in the class, on the object, or by an association.
      def own?(object)
        object.is_a?(Base) && object.method(:room).owner != Base
      end

      # A method that asks `NoDevent::Emitter.room(self)` in its turn would go round for ever.
      def ask(object)
        before = Thread.current[ASKED]
        if before.equal?(object)
          raise InvalidRoomError, "#{object.class}#room asks NoDevent::Emitter.room(self), which asks it; write `super`"
        end

        Thread.current[ASKED] = object
        object.room
      ensure
        Thread.current[ASKED] = before
      end

      def param(object)
        param = if own_to_param?(object) then object.to_param
                elsif object.respond_to?(:id) then object.id
                end
        return param unless param.nil? || param.to_s.empty?

        refuse(object, "has no to_param or id yet; emit after it was saved")
      end

      # Active Support gives every object a `to_param` that answers `to_s`; that is no name.
      def own_to_param?(object)
        object.respond_to?(:to_param) && object.method(:to_param).owner != Object
      end

      def check(object, name)
        name = name.encode(Encoding::UTF_8) unless name.encoding == Encoding::UTF_8
        refuse(object, "is not valid UTF-8") unless name.valid_encoding?
        refuse(object, "has no name") if name.strip.empty?
        refuse(object, "has a name of more than #{MAX_BYTES} bytes") if name.bytesize > MAX_BYTES
        name
      rescue ::EncodingError
        refuse(object, "cannot be written in UTF-8")
      end

      def refuse(object, problem)
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
