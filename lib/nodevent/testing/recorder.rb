# frozen_string_literal: true

module NoDevent
  module Testing
    # One publication as browsers would receive it: `message` was converted to JSON and back.
    Publication = Struct.new(:room, :event, :message, :namespace, keyword_init: true) do
      def to_s
        %("#{event}" to "#{room}" with #{JSON.generate(message)})
      end
    end

    # A publisher that records.
    class Recorder
      def initialize
        @lock = Mutex.new
        @publications = []
      end

      # @return [true, Integer] like a real publisher: with `wait: true`, one subscribed server
      def publish(channel, json, wait: false, **)
        parsed = JSON.parse(json)
        publication = Publication.new(room: parsed["room"], event: parsed["event"], message: parsed["message"],
                                      namespace: channel)
        @lock.synchronize { @publications << publication.freeze }
        wait ? 1 : true
      end

      # @return [Array<Publication>]
      def publications
        @lock.synchronize { @publications.dup }
      end

      def clear
        @lock.synchronize { @publications.clear }
      end
    end
  end
end
