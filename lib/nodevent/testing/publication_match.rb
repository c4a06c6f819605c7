# frozen_string_literal: true

module NoDevent
  module Testing
    # The publications that a test expects, and the failure messages.
    class PublicationMatch
      # Matches anything.
      ANY = Object.new.freeze

      # @param event [String, Symbol, nil] any event if nil
      # @param room see {NoDevent::Room.of}; any by default
      # @param message the expected message, compared after conversion to JSON, or an object that matches it by `===`;
      #   any by default
      # @param count [Integer, Range, nil] the expected number; at least one if nil
      def initialize(event = nil, room: ANY, message: ANY, count: nil)
        @event = event&.to_s
        @room = room.equal?(ANY) ? ANY : Room.of(room)
        @message = message
        @expected = message.equal?(ANY) ? ANY : as_json(message)
        @count = count
      end

      # @return [Array<Publication>] the matching publications
      def in(publications)
        publications.select { |publication| matches?(publication) }
      end

      # @return [Boolean] whether the number of matching publications is as expected
      def found?(publications)
        count = self.in(publications).size
        @count.nil? ? count.positive? : (@count === count) # rubocop:disable Style/CaseEquality -- Integer or Range
      end

      # @return [String] a description
      def to_s
        text = @event ? %("#{@event}") : "anything"
        text += %( to "#{@room}") unless @room.equal?(ANY)
        text += " with #{@message.respond_to?(:description) ? @message.description : inspect_message}" if message?
        Text.line(text + times)
      end

      # @return [String] the message of a failed expectation
      def failure(publications)
        "expected #{self} to be emitted, but it was #{emitted(publications)}. #{listing(publications)}"
      end

      # @return [String] the message of a failed negated expectation
      def failure_when_negated(publications)
        "expected #{self} not to be emitted, but it was #{emitted(publications)}. #{listing(publications)}"
      end

      private

      def message?
        !@message.equal?(ANY)
      end

      def matches?(publication)
        (@event.nil? || @event == publication.event) && (@room.equal?(ANY) || @room == publication.room) &&
          (!message? || same?(publication.message))
      end

      def same?(message)
        @expected == message || @message === message # rubocop:disable Style/CaseEquality -- matchers, too
      end

      def as_json(message)
        JSON.parse([message].to_json).first
      rescue StandardError
        ANY
      end

      def inspect_message
        @expected.equal?(ANY) ? @message.inspect : JSON.generate(@expected)
      end

      def times
        case @count
        when nil then ""
        when Range then " #{@count} times"
        else " #{word(@count)}"
        end
      end

      def emitted(publications)
        count = self.in(publications).size
        count.zero? ? "not emitted" : "emitted #{word(count)}"
      end

      def word(count)
        { 0 => "not at all", 1 => "once", 2 => "twice" }.fetch(count) { "#{count} times" }
      end

      def listing(publications)
        return "Nothing was emitted." if publications.empty?

        lines = publications.first(10).map { |publication| "  #{publication.to_s[0, 300]}" }
        lines << "  … and #{publications.size - 10} more" if publications.size > 10
        "Emitted:\n#{lines.join("\n")}"
      end
    end
  end
end
