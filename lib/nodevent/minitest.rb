# frozen_string_literal: true

require "minitest"
require "nodevent"
require "nodevent/testing"

module NoDevent
  module Testing
    # Assertions, for all Minitest tests.
    module Assertions
      def before_setup
        NoDevent.test_mode!
        Testing.clear
        super
      end

      # Looks at what the block emits, or, without one, at all since the test began.
      # @example
      #   assert_emitted("create", to: Comment, count: 1) { comment.save! }
      # @param event [String, Symbol, nil] any if left out
      # @param to see {NoDevent::Room.of}
      # @param with what it must be once it is JSON, or anything that `===` it
      # @param count [Integer, Range, nil] at least once if nil
      # @return [Array<Emission>] those that fit
      # @raise [Minitest::Assertion] if there are none, or not as many; it shows what was emitted instead
      # @raise [InvalidRoomError] if `to:` names no room
      def assert_emitted(event = nil, to: Search::ANY, with: Search::ANY, count: nil, &block)
        search = Search.new(event, room: to, message: with, count: count)
        emissions = emissions_of(&block)
        assert(search.found?(emissions), -> { search.failure(emissions) })
        search.in(emissions)
      end

      # @example
      #   refute_emitted { comment.valid? }
      # @param event see {assert_emitted}
      # @param to see {assert_emitted}
      # @param with see {assert_emitted}
      # @return [void]
      # @raise see {assert_emitted}
      def refute_emitted(event = nil, to: Search::ANY, with: Search::ANY, &block)
        search = Search.new(event, room: to, message: with)
        emissions = emissions_of(&block)
        assert(search.in(emissions).empty?, -> { search.failure_when_negated(emissions) })
      end

      private

      def emissions_of
        return Testing.emissions unless block_given?

        before = Testing.emissions.size
        yield
        Testing.emissions.drop(before)
      end
    end
  end
end

Minitest::Test.include(NoDevent::Testing::Assertions)
