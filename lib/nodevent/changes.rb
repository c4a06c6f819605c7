# frozen_string_literal: true

module NoDevent
  # `emits_changes`, for Active Record classes that include {Base}.
  module Changes
    ACTIONS = %i[create update destroy].freeze

    private_constant :ACTIONS

    # Emits `create`, `update` and `destroy` once the transaction is committed, so that nobody hears of what is then
    # rolled back, or asks for a record that is not there yet.
    #
    # @param room [Symbol, Proc, Array, Object, nil] where: a method's name, a block that takes the record, a room, or
    #   several. By default `create` goes to the room of the class, the others to the record's own
    # @param on [Array<Symbol>] some of `:create`, `:update`, `:destroy`
    # @param message [Symbol, Proc, nil] what is sent: a method's name, or a block that takes the record; by default
    #   the record
    # @return [void]
    # @raise [ArgumentError] if `on:` has another word, or the class has no `after_commit`
    # @example
    #   emits_changes
    #   emits_changes room: :discussion, on: %i[create destroy], message: ->(comment) { comment.slice(:id, :text) }
    def emits_changes(room: nil, on: ACTIONS, message: nil)
      actions = Array(on).map(&:to_sym)
      unknown = actions - ACTIONS
      raise ArgumentError, "on: has #{unknown.first.inspect}; write some of #{ACTIONS.inspect}" if unknown.any?
      raise ArgumentError, "emits_changes needs Active Record's after_commit" unless respond_to?(:after_commit)

      before_save { Changes.note_silence(self) }
      before_destroy(prepend: true) { Changes.note_silence(self) }
      after_touch { Changes.note_silence(self) }
      actions.each do |action|
        after_commit(on: action) { Changes.emit(self, action, room, message) }
      end
    end

    class << self
      # Remembers that a change was made in silence: its commit may come after the block.
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

      # An association with many is many rooms, but a model is one, however many methods of a list it has.
      def list(found)
        found.respond_to?(:to_ary) ? found.to_ary.compact : [found].compact
      end

      def resolve(record, what)
        what.is_a?(Symbol) ? record.public_send(what) : record.instance_exec(record, &what)
      end
    end
  end
end
