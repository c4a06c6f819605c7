# frozen_string_literal: true

module NoDevent
  module Testing
    # What a test looks for among the emissions, and how it says what it found.
    class Search
      # Anything will do.
      ANY = Object.new.freeze

      # @param event [String, Symbol, nil] any if nil
      # @param room see {NoDevent::Room.of}; any by default
      # @param message what it must be once it is JSON, or anything that `===` it; any by default
      # @param count [Integer, Range, nil] how often; at least once if nil
      def initialize(event = nil, room: ANY, message: ANY, count: nil)
        @event = event&.to_s
        @room = room.equal?(ANY) ? ANY : Room.of(room)
        @message = message
        @expected = message.equal?(ANY) ? ANY : as_json(message)
        @count = count
      end

      # @return [Array<Emission>] those that fit
      def in(emissions)
        emissions.select { |emission| fits?(emission) }
      end

      # @return [Boolean] whether there are as many as there should be
      def found?(emissions)
        count = self.in(emissions).size
        @count.nil? ? count.positive? : (@count === count) # rubocop:disable Style/CaseEquality -- Integer or Range
      end

      # @return [String] what is looked for
      def to_s
        text = @event ? %("#{@event}") : "anything"
        text += %( to "#{@room}") unless @room.equal?(ANY)
        text += " with #{@message.respond_to?(:description) ? @message.description : inspect_message}" if message?
        text + times
      end

      # @return [String] why the test fails
      def failure(emissions)
        "expected #{self} to be emitted, but it was #{word(self.in(emissions).size)}. #{heard(emissions)}"
      end

      # @return [String] why the test fails that wants none
      def failure_when_negated(emissions)
        "expected #{self} not to be emitted, but it was #{word(self.in(emissions).size)}. #{heard(emissions)}"
      end

      private

      def message?
        !@message.equal?(ANY)
      end

      def fits?(emission)
        (@event.nil? || @event == emission.event) && (@room.equal?(ANY) || @room == emission.room) &&
          (!message? || same?(emission.message))
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

      def word(count)
        { 0 => "not at all", 1 => "once", 2 => "twice" }.fetch(count) { "#{count} times" }
      end

      def heard(emissions)
        return "Nothing was emitted." if emissions.empty?

        lines = emissions.first(10).map { |emission| "  #{emission.to_s[0, 300]}" }
        lines << "  … and #{emissions.size - 10} more" if emissions.size > 10
        "Emitted:\n#{lines.join("\n")}"
      end
    end
  end
end
