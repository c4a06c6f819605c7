# frozen_string_literal: true

module NoDevent
  module Testing
    # One publication as browsers would receive it: `message` was converted to JSON and back.
    Publication = Struct.new(:room, :event, :message, :namespace, keyword_init: true) do
      def to_s
        Text.line(%("#{event}" to "#{room}" with #{JSON.generate(message)}))
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
                                      namespace: channel)
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
