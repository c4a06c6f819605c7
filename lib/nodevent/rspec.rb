# frozen_string_literal: true

require "nodevent"
require "nodevent/testing"
require "rspec/core"
require "rspec/matchers"

module NoDevent
  module Testing
    # `have_emitted`, included in all examples.
    module Matchers
      # @example a block
      #   expect { comment.save! }.to have_emitted("create").to(Comment).once
      # @example everything since the example started
      #   expect(NoDevent).to have_emitted("update").to(discussion).with(a_hash_including("title" => "New"))
      # @example counts
      #   expect { import }.to have_emitted("create").to(Comment).exactly(3).times
      #   expect { import }.to have_emitted("create").exactly(2..5).times
      #   expect { import }.not_to have_emitted
      # @param event [String, Symbol, nil] any event if omitted
      # @return [HaveEmitted]
      def have_emitted(event = nil) # rubocop:disable Naming/PredicateName -- a matcher
        HaveEmitted.new(event)
      end
    end

    # The matcher that {Matchers#have_emitted} returns.
    class HaveEmitted
      include RSpec::Matchers::Composable

      def initialize(event)
        @event = event
        @options = {}
      end

      # @param room see {NoDevent::Room.of}
      # @return [self]
      # @raise [InvalidRoomError] when it matches, if the argument does not name a room
      def to(room)
        with_option(:room, room)
      end

      # @param message the expected message, compared after conversion to JSON, or a matcher such as
      #   `a_hash_including("id" => 1)`
      # @return [self]
      def with(message)
        with_option(:message, message)
      end

      # @param count [Integer, Range]
      # @return [self]
      def exactly(count)
        with_option(:count, count)
      end

      # @return [self]
      def once
        exactly(1)
      end

      # @return [self]
      def twice
        exactly(2)
      end

      # Makes `exactly(3).times` readable.
      # @return [self]
      def times
        self
      end

      def matches?(actual)
        @publications = publications_of(actual)
        match.found?(@publications)
      end

      def does_not_match?(actual)
        @publications = publications_of(actual)
        match.in(@publications).empty?
      end

      def supports_block_expectations?
        true
      end

      def supports_value_expectations?
        true
      end

      def description
        "have emitted #{match}"
      end

      def failure_message
        match.failure(@publications)
      end

      def failure_message_when_negated
        match.failure_when_negated(@publications)
      end

      private

      def with_option(name, value)
        @options[name] = value
        self
      end

      def match
        @match ||= PublicationMatch.new(@event, **@options)
      end

      def publications_of(actual)
        return Testing.publications unless actual.is_a?(Proc)

        before = Testing.publications.size
        actual.call
        Testing.publications.drop(before)
      end
    end
  end
end

RSpec.configure do |config|
  config.include NoDevent::Testing::Matchers
  config.before do
    NoDevent.test_mode!
    NoDevent::Testing.begin_test
  end
  config.after { NoDevent::Testing.end_test }
end
