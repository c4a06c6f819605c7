# frozen_string_literal: true

module NoDevent
  module Testing
    # What a test expects to be recorded: how often, and the failure messages. A subclass decides what matches.
    # @abstract
    class Match
      # Matches anything.
      ANY = Object.new.freeze

      # @param count [Integer, Range, nil] the expected number; at least one if nil
      def initialize(count)
        @count = count
      end

      # @param records [Array] what was recorded
      # @return [Array] the matching records
      def in(records)
        records.select { |record| matches?(record) }
      end

      # @param records [Array]
      # @return [Boolean] whether the number of matching records is as expected
      def found?(records)
        count = self.in(records).size
        @count.nil? ? count.positive? : (@count === count) # rubocop:disable Style/CaseEquality -- Integer or Range
      end

      # @return [String] a description
      def to_s
        Text.line(description + times)
      end

      # @return [String] the message of a failed expectation
      def failure(records)
        "expected #{self} to be #{verb}, but it was #{outcome(records)}. #{listing(records)}"
      end

      # @return [String] the message of a failed negated expectation
      def failure_when_negated(records)
        "expected #{self} not to be #{verb}, but it was #{outcome(records)}. #{listing(records)}"
      end

      private

      # A message is compared after conversion to JSON, or matches by `===`.
      def expect_message(message)
        @message = message
        @expected = message.equal?(ANY) ? ANY : as_json(message)
      end

      def message?
        !@message.equal?(ANY)
      end

      def same?(message)
        !message? || @expected == message || @message === message # rubocop:disable Style/CaseEquality -- matchers, too
      end

      def with_message
        return "" unless message?

        " with #{@message.respond_to?(:description) ? @message.description : inspect_message}"
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

      def outcome(records)
        count = self.in(records).size
        count.zero? ? "not #{verb}" : "#{verb} #{word(count)}"
      end

      def word(count)
        { 0 => "not at all", 1 => "once", 2 => "twice" }.fetch(count) { "#{count} times" }
      end

      def listing(records)
        return "Nothing was #{verb}." if records.empty?

        lines = records.first(10).map { |record| "  #{record.to_s[0, 300]}" }
        lines << "  … and #{records.size - 10} more" if records.size > 10
        "#{verb.capitalize}:\n#{lines.join("\n")}"
      end
    end
  end
end
