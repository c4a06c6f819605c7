# frozen_string_literal: true

module NoDevent
  # What Active Record classes that include {Base} need in addition: it tracks, per record and transaction, whether a
  # change was silenced and which room open pages are in.
  # @api private
  module Record
    # A change made in a transaction.
    Change = Struct.new(:silenced, :transaction)

    CHANGES = :@nodevent_changes
    ROOM = :@nodevent_room
    COMMITTED = :@nodevent_committed

    private_constant :Change, :CHANGES, :ROOM, :COMMITTED

    def self.included(base)
      base.extend(ClassMethods)
      base.before_save { Record.note_change(self) }
      base.before_destroy(prepend: true) { Record.note_change(self) }
      base.after_touch { Record.note_change(self) }
      base.after_commit { Record.note_commit(self) }
    end

    # A record and its `becomes` share a room.
    def becomes(klass)
      super.tap do |record|
        own = Reflection.get(self, :@nodevent_class) || Reflection.class_of(self)
        Reflection.set(record, :@nodevent_class, own)
      end
    end

    # A record that changes its class changes its room, but open pages are still in the previous one.
    def becomes!(klass)
      room = Record.room_or_nil(self)
      super.tap do |record|
        Reflection.set(record, :@nodevent_class, nil)
        Reflection.set(record, ROOM, room)
      end
    end

    # Class methods of records.
    module ClassMethods
      # Active Record defines no reader for an attribute if a parent class has a method of its name. A method that the
      # parent has only from {Base} does not count.
      def instance_method_already_implemented?(name)
        implemented = super
        implemented && !(superclass.method_defined?(name) && Reflection.own?(superclass.instance_method(name), Base))
      end
    end

    class << self
      # @return [Array<String>] the record's room, and the one it had before the last commit
      def rooms(record)
        [(Reflection.get(record, ROOM) if record.is_a?(Record)), Room.of(record)].compact.uniq
      end

      # @return [Boolean] whether all changes of the transaction were silenced. Changes of savepoints that were rolled
      #   back do not count
      def silenced?(record)
        changes = (Reflection.get(record, CHANGES) || []).reject { |change| change.transaction&.rolledback? }
        changes.any? && changes.all?(&:silenced)
      end

      # @return [String, nil] the record's room; nil if it has none yet
      def room_or_nil(record)
        Room.of(record)
      rescue InvalidRoomError
        nil
      end

      # Called before each change.
      def note_change(record)
        reset(record) if Reflection.get(record, COMMITTED)
        changes = Reflection.get(record, CHANGES) || Reflection.set(record, CHANGES, [])
        changes << Change.new(Silence.on?, transaction_state(record))
        Reflection.get(record, ROOM) || Reflection.set(record, ROOM, stored_room(record))
      end

      # Called at the commit, in any order with the callbacks that emit: they still need what was noted.
      def note_commit(record)
        Reflection.set(record, COMMITTED, true)
      end

      private

      def reset(record)
        Reflection.set(record, COMMITTED, false)
        Reflection.set(record, CHANGES, nil)
        Reflection.set(record, ROOM, nil)
      end

      def transaction_state(record)
        Reflection.class_of(record).connection.current_transaction.state
      end

      # The room according to the values in the database, which is the one that pages are in.
      def stored_room(record)
        return if record.new_record?
        return room_or_nil(record) if !record.has_changes_to_save? || Room.stable?(record)

        stored = record.dup
        record.attribute_names.each { |name| stored[name] = record.attribute_in_database(name) }
        Reflection.set(stored, :@nodevent_class, Reflection.get(record, :@nodevent_class))
        room_or_nil(stored)
      rescue StandardError
        # The application's naming does not work on a copy; a change must not fail because of that.
        nil
      end
    end
  end
end
