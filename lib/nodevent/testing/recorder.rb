# frozen_string_literal: true

module NoDevent
  module Testing
    # One emission as the browsers would hear it: `message` has gone through JSON.
    Emission = Struct.new(:room, :event, :message, :namespace, keyword_init: true) do
      def to_s
        %("#{event}" to "#{room}" with #{JSON.generate(message)})
      end
    end

    # A publisher that keeps what it is given.
    class Recorder
      def initialize
        @lock = Mutex.new
        @emissions = []
      end

      # @return [true, Integer] as the real one: with `wait: true` one server has heard it
      def publish(channel, json, wait: false, **)
        parsed = JSON.parse(json)
        emission = Emission.new(room: parsed["room"], event: parsed["event"], message: parsed["message"],
                                namespace: channel)
        @lock.synchronize { @emissions << emission.freeze }
        wait ? 1 : true
      end

      # @return [Array<Emission>]
      def emissions
        @lock.synchronize { @emissions.dup }
      end

      def clear
        @lock.synchronize { @emissions.clear }
      end
    end
  end
end
