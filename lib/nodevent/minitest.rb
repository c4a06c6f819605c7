# frozen_string_literal: true

require "minitest"
require "nodevent"
require "nodevent/testing"

module NoDevent
  module Testing
    # Assertions, included in all Minitest tests.
    module Assertions
      def before_setup
        NoDevent.test_mode!
        Testing.begin_test
        super
      end

      def after_teardown
        super
      ensure
        Testing.end_test
      end

      # Checks what the block emits, or without a block, everything since the test started.
      # @example
      #   assert_emitted("create", to: Comment, count: 1) { comment.save! }
      # @param event [String, Symbol, nil] any event if omitted
      # @param to see {NoDevent::Room.of}
      # @param with the expected message, compared after conversion to JSON, or an object that matches it by `===`
      # @param count [Integer, Range, nil] at least one if nil
      # @return [Array<Publication>] the matching publications
      # @raise [Minitest::Assertion] if the number of matching publications is not as expected; lists what was emitted
      # @raise [InvalidRoomError] if `to:` does not name a room
      def assert_emitted(event = nil, to: PublicationMatch::ANY, with: PublicationMatch::ANY, count: nil, &block)
        match = PublicationMatch.new(event, room: to, message: with, count: count)
        publications = publications_of(&block)
        assert(match.found?(publications), -> { match.failure(publications) })
        match.in(publications)
      end

      # @example
      #   refute_emitted { comment.valid? }
      # @param event see {assert_emitted}
      # @param to see {assert_emitted}
      # @param with see {assert_emitted}
      # @return [void]
      # @raise see {assert_emitted}
      def refute_emitted(event = nil, to: PublicationMatch::ANY, with: PublicationMatch::ANY, &block)
        match = PublicationMatch.new(event, room: to, message: with)
        publications = publications_of(&block)
        assert(match.in(publications).empty?, -> { match.failure_when_negated(publications) })
      end

      private

      def publications_of
        return Testing.publications unless block_given?

        before = Testing.publications.size
        yield
        Testing.publications.drop(before)
      end
    end
  end
end

Minitest::Test.include(NoDevent::Testing::Assertions)
