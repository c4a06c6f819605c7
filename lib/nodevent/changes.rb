# frozen_string_literal: true

require "nodevent/filter"

module NoDevent
  # `emits_changes`, a macro for Active Record classes that include {Base}.
  module Changes
    ACTIONS = %i[create update destroy].freeze

    private_constant :ACTIONS

    # Emits `create`, `update` and `destroy` after the transaction is committed. Before, a change might be rolled back,
    # and other clients could not load the record yet.
    #
    # @param room [Symbol, Proc, Array, Object, nil] the room: a method's name, a block that takes the record, a room,
    #   or an array of these. By default `create` goes to the room of the class (with single-table inheritance also to
    #   those of its parent classes), and the others to the record's room
    # @param on [Array<Symbol>] one or more of `:create`, `:update`, `:destroy`
    # @param message [Symbol, Proc, nil] the message: a method's name, or a block that takes the record. By default the
    #   record, without the attributes that the application filters (`filter_parameters`, `filter_attributes`), encrypts
    #   or uses as password digests, at every depth of its `as_json`
    # @param except [:page, nil] `:page`: the page that made the request does not receive the event
    # @return [void]
    # @raise [ArgumentError] if `on:` contains anything else, or the class has no `after_commit`
    # @example
    #   emits_changes message: ->(comment) { comment.slice(:id, :text) }
    #   emits_changes room: :discussion, on: %i[create destroy], message: ->(comment) { { id: comment.id } }
    #   emits_changes except: :page
    def emits_changes(room: nil, on: ACTIONS, message: nil, except: nil)
      actions = Array(on).map(&:to_sym)
      unknown = actions - ACTIONS
      if unknown.any?
        raise ArgumentError,
              "on: contains #{Text.value(unknown.first)}; write one or more of #{ACTIONS.inspect}"
      end
      unless [nil, :page].include?(except)
        raise ArgumentError, "except: is #{Text.value(except)}; write `except: :page`"
      end
      raise ArgumentError, "emits_changes requires Active Record's after_commit" unless respond_to?(:after_commit)

      actions.each do |action|
        after_commit(on: action) { Changes.emit(self, action, room, message, except) }
      end
    end

    class << self
      # @api private
      def emit(record, action, room, message, except)
        return if Record.silenced?(record)

        content = Encoder.encoding do
          message.nil? ? Filter.message(record) : resolve(record, message)
        end
        namespace = Namespace.of(record)
        options = except ? { except: except } : {}
        if room.nil? && action != :create
          return namespace.emit_copies(Record.rooms(record), action.to_s, content, options)
        end

        rooms(record, action, room).each { |each| namespace.publish(each, action.to_s, content, options) }
      end

      private

      def rooms(record, action, room)
        case room
        when nil then action == :create ? Room.of_hierarchy(Reflection.class_of(record)) : Record.rooms(record)
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
        what.is_a?(Symbol) ? Reflection.call(record, what) : Reflection.instance_exec(record, record, &what)
      end
    end
  end
end
