# frozen_string_literal: true

require "nodevent/reflection"

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
    # The methods with which an application can override the name, in order of precedence.
    # @api private
    OVERRIDES = %i[nodevent_room room].freeze
    # The fiber-local variable with the object whose override is being called, and the override's name.
    RESOLVING = FiberLocal.new(:nodevent_room_of)
    # Active Record's generated modules: methods in them are the application's attributes and associations.
    GENERATED = /::Generated(Attribute|Association)Methods\z/

    BUILT_IN = [::Object, ::Kernel, ::BasicObject].freeze

    private_constant :BUILT_IN, :NO_ROOM, :RESOLVING, :GENERATED

    class << self
      # @return [Symbol, Array<Symbol>, Proc, nil] how rooms are named if the class does not say so; see
      #   {Base::ClassMethods#nodevent_room_by}
      attr_accessor :by

      # @param object [String, Symbol, Integer, Module, #to_param, #id, Delegator, #to_model] the owner of the room.
      #   A view object is resolved to its record
      # @return [String] the name of its room; an override that the application defines takes precedence
      # @raise [InvalidRoomError] if it has no room
      def of(object)
        return check(object, object) if object.is_a?(::String)

        object = subject(object)
        return name_of_record(object) if object.is_a?(Base) && !object.is_a?(::Module)

        (object.is_a?(Base) && overridden(object)) || default(object)
      end

      # @param object see {of}
      # @return [String] the name of its room, ignoring overrides
      # @raise [InvalidRoomError] if it has no room
      def default(object)
        name = case object
               when ::String then object
               when ::Symbol, ::Integer then object.to_s
               when ::Module then Reflection.name_of(object).to_s
               when *NO_ROOM then invalid!(object, "is not a room")
               else name_of_instance(object)
               end
        check(object, name)
      end

      # @param record [Base]
      # @param except [Symbol] an override to ignore, because it is calling
      # @return [String] the name of the record's room
      def without(record, except)
        overridden(record, OVERRIDES - [except]) || default(record)
      end

      # @return [Method, nil] the method that the application, and not this gem, Ruby or Active Record, defines
      def application_method(object, name)
        method = Reflection.method_of(object, name)
        method = method.super_method while method && Reflection.own?(method, Base)
        method if method && handwritten?(method.owner) && !attribute_alias?(object, name)
      end

      # @return [Array<String>] the rooms of a class and of its ancestors up to the base class of its table
      def of_hierarchy(klass)
        base = klass.respond_to?(:base_class) ? klass.base_class : klass
        classes = klass.ancestors.grep(::Class).take_while { |ancestor| ancestor <= base }
        classes.filter_map { |ancestor| of(ancestor) if ancestor.is_a?(Base) }.uniq
      end

      # @return [Boolean] whether no change of attributes but the id's can rename the room of this record
      def stable?(record)
        klass = Reflection.class_of(record)
        by = klass.nodevent_room_by || self.by
        return false if OVERRIDES.any? { |name| application_method(record, name) } || (by && by != :id)

        !record.will_save_change_to_attribute?(klass.primary_key.to_s) &&
          (by == :id || Reflection.method_of(record, :to_param).owner.equal?(::ActiveRecord::Integration))
      end

      # A view object and its record share the record's room: pages are rendered with one, and publications are emitted
      # with the other.
      # @return [Object] the record of a view object; otherwise the object itself
      def subject(object)
        while (inner = wrapped(object)) && !inner.equal?(object)
          object = inner
        end
        object
      end

      private

      def name_of_record(record)
        overridden(record) || check(record, name_of_instance(record))
      end

      def wrapped(object)
        return object.__getobj__ if defined?(::Delegator) && object.is_a?(::Delegator)
        return object.object if defined?(::Draper::Decorator) && object.is_a?(::Draper::Decorator)

        object.to_model if !object.is_a?(Base) && Reflection.responds?(object, :to_model)
      end

      # An override counts only if it returns a name: a `room` that returns a record is the application's own.
      def overridden(object, names = OVERRIDES)
        names.each do |name|
          method = application_method(object, name)
          next unless method && [0, -1].include?(method.arity)

          value = resolving(object, name) { method.call }
          return check(object, value.to_s) if value.is_a?(::String) || value.is_a?(::Symbol)
        end
        nil
      end

      # Detects an override that calls `NoDevent::Emitter.room(self)`, which would recurse endlessly.
      def resolving(object, name, &block)
        before = RESOLVING.value
        if before && before.first.equal?(object) && before.last == name
          raise InvalidRoomError, "#{describe_class(object)}##{name} calls NoDevent::Emitter.room(self) or " \
                                  "nodevent_room, which calls it again; write `super`"
        end

        RESOLVING.with([object, name], &block)
      end

      # Anonymous modules are generated too: Active Record has one for enums and one for stores.
      def handwritten?(owner)
        return false if BUILT_IN.include?(owner)
        return true if owner.is_a?(::Class)

        name = Reflection.name_of(owner)
        !name.nil? && !name.match?(GENERATED)
      end

      # `alias_attribute` defines its methods in the class itself, as an application does.
      def attribute_alias?(object, name)
        return false if object.is_a?(::Module)

        klass = Reflection.class_of(object)
        klass.respond_to?(:attribute_aliases) && klass.attribute_aliases.key?(name.to_s)
      end

      def name_of_instance(object)
        klass = Reflection.get(object, :@nodevent_class) || Reflection.class_of(object)
        name = Reflection.name_of(klass) || invalid!(object, "has a class without a name")
        "#{name}_#{param(object, klass)}"
      rescue ::EncodingError
        invalid!(object, "has a to_param or id that cannot be converted to UTF-8")
      end

      def param(object, klass)
        by = (klass.nodevent_room_by if klass.respond_to?(:nodevent_room_by)) || self.by
        param = by ? named_by(object, by) : to_param(object)
        param = param.is_a?(::String) || param.is_a?(::Integer) ? param.to_s : join(Array(param))
        return param unless param.empty?

        invalid!(object, "has no to_param or id yet; emit after it is saved")
      end

      # Slugs may contain the separator: without the escapes, `a_b` and `c` would have the room of `a` and `b_c`.
      def join(parts)
        *first, last = parts.flatten.map(&:to_s)
        [*first.map { |part| part.gsub("%", "%25").gsub("_", "%5F") }, last].join("_")
      end

      def named_by(object, by)
        case by
        when ::Proc then by.call(object)
        when ::Array then by.map { |name| Reflection.call(object, name) }
        else Reflection.responds?(object, by) ? Reflection.call(object, by) : to_param(object)
        end
      end

      def to_param(object)
        param = object.to_param if own_to_param?(object)
        return param if param.is_a?(::String) && !param.empty?

        param = object.id if param.to_s.empty? && Reflection.responds?(object, :id)
        param
      end

      # Active Support gives every object a `to_param` that returns `to_s`, which is not a name. Active Record's joins
      # the parts of a composite key without escapes.
      def own_to_param?(object)
        return false unless Reflection.responds?(object, :to_param)

        owner = Reflection.method_of(object, :to_param)&.owner
        return false if owner.equal?(::Object)

        joined = defined?(::ActiveRecord::Integration) && owner.equal?(::ActiveRecord::Integration)
        !(joined && object.id.is_a?(::Array))
      end

      def check(object, name)
        name = name.encode(Encoding::UTF_8) unless name.encoding == Encoding::UTF_8
        invalid!(object, "is not valid UTF-8") unless name.valid_encoding?
        invalid!(object, "has no name") if name.empty? || (name.getbyte(0) <= 0x20 && name.strip.empty?)
        invalid!(object, "has a name that begins with U+0001") if name.start_with?("\u0001")
        invalid!(object, "has a name longer than #{MAX_BYTES} bytes") if name.bytesize > MAX_BYTES
        name
      rescue ::EncodingError
        invalid!(object, "cannot be converted to UTF-8")
      end

      def invalid!(object, problem)
        what = object.is_a?(::String) ? Text.value(object) : "#{describe_class(object)} #{describe(object)}".strip
        raise InvalidRoomError, "#{what} #{problem}. A room is a String, a Symbol, an Integer, a Class, " \
                                "a saved record, or an object with to_param or id."
      end

      def describe_class(object)
        Reflection.class_of(object)
      end

      def describe(object)
        case object
        when nil, true, false then object.inspect
        when ::Module then Reflection.name_of(object).to_s
        else ""
        end
      end
    end
  end
end
