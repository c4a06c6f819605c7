# frozen_string_literal: true

module NoDevent
  module Testing
    # One publication as browsers would receive it: `message` was converted to JSON and back. `room` is nil if it was
    # emitted with {Emitter.to}; then it has `rooms`, `users` (their ids) and `broadcast`.
    Publication = Struct.new(:room, :event, :message, :namespace, :rooms, :users, :broadcast, keyword_init: true) do
      def to_s
        Text.line(%("#{event}" to #{target} with #{JSON.generate(message)}))
      end

      # Without the targets that it does not have.
      def to_h(...)
        super.reject { |name, value| value.nil? && %i[rooms users broadcast].include?(name) }
      end

      private

      def target
        return %("#{room}") if room

        names = [*rooms, *users&.map { |user| "user #{user}" }].map { |name| %("#{name}") }
        [*names, *("all connections" if broadcast)].join(", ")
      end
    end

    # A publisher that records. It takes no lock, so that signal handlers can emit; appending to an Array and copying it
    # are atomic.
    class Recorder
      def initialize
        @entries = []
      end

      # @return [true, Integer] like a real publisher: with `wait: true`, one subscribed server
      def publish(channel, json, wait: false, **)
        parsed = JSON.parse(json)
        publication = Publication.new(room: parsed["room"], event: parsed["event"], message: parsed["message"],
                                      namespace: channel, rooms: parsed["rooms"], users: parsed["users"],
                                      broadcast: parsed["broadcast"])
        @entries << [Context.current || Context.only, publication.freeze]
        wait ? 1 : true
      end

      # @return [Array<Publication>] those of the current test; outside of tests, all
      def publications
        entries = @entries.dup
        context = Context.current
        entries.select! { |owner, _| owner.equal?(context) } if context
        entries.map(&:last)
      end

      # Deletes those of the current test; outside of tests, all.
      def clear
        forget(Context.current)
      end

      # @param context [Context, nil] the test; all if nil
      def forget(context)
        context ? @entries.delete_if { |owner, _| owner.equal?(context) } : @entries.clear
      end
    end
  end
end
