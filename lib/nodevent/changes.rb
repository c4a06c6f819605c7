# frozen_string_literal: true

module NoDevent
  # `emits_changes`, a macro for Active Record classes that include {Base}.
  module Changes
    ACTIONS = %i[create update destroy].freeze

    private_constant :ACTIONS

    # Emits `create`, `update` and `destroy` after the transaction is committed. Before, a change might be rolled back,
    # and other clients could not load the record yet.
    #
    # @param room [Symbol, Proc, Array, Object, nil] the room: a method's name, a block that takes the record, a room,
    #   or an array of these. By default `create` goes to the room of the class, and the others to the record's room
    # @param on [Array<Symbol>] one or more of `:create`, `:update`, `:destroy`
    # @param message [Symbol, Proc, nil] the message: a method's name, or a block that takes the record; by default
    #   the record
    # @return [void]
    # @raise [ArgumentError] if `on:` contains anything else, or the class has no `after_commit`
    # @example
    #   emits_changes
    #   emits_changes room: :discussion, on: %i[create destroy], message: ->(comment) { comment.slice(:id, :text) }
    def emits_changes(room: nil, on: ACTIONS, message: nil)
      actions = Array(on).map(&:to_sym)
      unknown = actions - ACTIONS
      if unknown.any?
        raise ArgumentError,
              "on: contains #{unknown.first.inspect}; write one or more of #{ACTIONS.inspect}"
      end
      raise ArgumentError, "emits_changes requires Active Record's after_commit" unless respond_to?(:after_commit)

      before_save { Changes.note_silence(self) }
      before_destroy(prepend: true) { Changes.note_silence(self) }
      after_touch { Changes.note_silence(self) }
      actions.each do |action|
        after_commit(on: action) { Changes.emit(self, action, room, message) }
      end
    end

    class << self
      # Remembers that a change was silenced, because its commit may happen after the block.
      # @api private
      def note_silence(record)
        record.instance_variable_set(:@nodevent_silenced, Silence.on?)
      end

      # @api private
      def emit(record, action, room, message)
        return if record.instance_variable_get(:@nodevent_silenced).tap { forget_silence(record) }

        text = message.nil? ? record : resolve(record, message)
        rooms(record, action, room).each { |each| Emitter.emit(each, action.to_s, text) }
      end

      private

      def forget_silence(record)
        record.instance_variable_set(:@nodevent_silenced, false)
      end

      def rooms(record, action, room)
        case room
        when nil then [action == :create ? record.class.room : record.room]
        when Array then room.flat_map { |each| rooms(record, action, each) }
        when Symbol, Proc then list(resolve(record, room))
        else [room]
        end
      end

      # A has_many association is a list of rooms, but a model is one room, even if it has methods of a list.
      def list(value)
        value.respond_to?(:to_ary) ? value.to_ary.compact : [value].compact
      end

      def resolve(record, what)
        what.is_a?(Symbol) ? record.public_send(what) : record.instance_exec(record, &what)
      end
    end
  end
end
