# frozen_string_literal: true

require "nodevent"
require "nodevent/testing"
require "rspec/core"
require "rspec/matchers"

module NoDevent
  module Testing
    # `have_emitted`, for all examples.
    module Matchers
      # @example a block
      #   expect { comment.save! }.to have_emitted("create").to(Comment).once
      # @example all since the example began
      #   expect(NoDevent).to have_emitted("update").to(discussion).with(a_hash_including("title" => "New"))
      # @example how often
      #   expect { import }.to have_emitted("create").to(Comment).exactly(3).times
      #   expect { import }.to have_emitted("create").exactly(2..5).times
      #   expect { import }.not_to have_emitted
      # @param event [String, Symbol, nil] any if left out
      # @return [HaveEmitted]
      def have_emitted(event = nil) # rubocop:disable Naming/PredicateName -- a matcher
        HaveEmitted.new(event)
      end
    end

    # The matcher.
    class HaveEmitted
      include RSpec::Matchers::Composable

      def initialize(event)
        @event = event
        @options = {}
      end

      # @param room see {NoDevent::Room.of}
      # @return [self]
      # @raise [InvalidRoomError] when it is compared, if that names no room
      def to(room)
        with_option(:room, room)
      end

      # @param message what it must be once it is JSON, or a matcher such as `a_hash_including("id" => 1)`
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

      # So that `exactly(3).times` reads well.
      # @return [self]
      def times
        self
      end

      def matches?(actual)
        @emissions = emissions(actual)
        search.found?(@emissions)
      end

      def does_not_match?(actual)
        @emissions = emissions(actual)
        search.in(@emissions).empty?
      end

      def supports_block_expectations?
        true
      end

      def supports_value_expectations?
        true
      end

      def description
        "have emitted #{search}"
      end

      def failure_message
        search.failure(@emissions)
      end

      def failure_message_when_negated
        search.failure_when_negated(@emissions)
      end

      private

      def with_option(name, value)
        @options[name] = value
        self
      end

      def search
        @search ||= Search.new(@event, **@options)
      end

      def emissions(actual)
        return Testing.emissions unless actual.is_a?(Proc)

        before = Testing.emissions.size
        actual.call
        Testing.emissions.drop(before)
      end
    end
  end
end

RSpec.configure do |config|
  config.include NoDevent::Testing::Matchers
  config.before do
    NoDevent.test_mode!
    NoDevent::Testing.clear
  end
end
