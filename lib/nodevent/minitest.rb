# frozen_string_literal: true

require "minitest"
require "nodevent"
require "nodevent/testing"

module NoDevent
  module Testing
    # Assertions, and the questions of {Pages}, included in all Minitest tests.
    module Assertions
      include Pages

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
      #   assert_emitted("mention", users: [ann, bob]) { comment.save! }
      # @param event [String, Symbol, nil] any event if omitted
      # @param to see {NoDevent::Room.of}
      # @param with the expected message, compared after conversion to JSON, or an object that matches it by `===`
      # @param count [Integer, Range, nil] at least one if nil
      # @param targets [Hash] `rooms:`, `users:` and `broadcast:`, as for {Emitter.to}: the event has all of them among
      #   its targets, and may have more
      # @return [Array<Publication>] the matching publications
      # @raise [Minitest::Assertion] if the number of matching publications is not as expected; lists what was emitted
      # @raise [InvalidRoomError] if `to:` does not name a room
      def assert_emitted(event = nil, to: Match::ANY, with: Match::ANY, count: nil, **targets, &block)
        assert_recorded(PublicationMatch.new(event, room: to, message: with, count: count, **targets), :publications,
                        &block)
      end

      # @example
      #   refute_emitted { comment.valid? }
      # @param event see {assert_emitted}
      # @param to see {assert_emitted}
      # @param with see {assert_emitted}
      # @param targets see {assert_emitted}
      # @return [void]
      # @raise see {assert_emitted}
      def refute_emitted(event = nil, to: Match::ANY, with: Match::ANY, **targets, &block)
        refute_recorded(PublicationMatch.new(event, room: to, message: with, **targets), :publications, &block)
      end

      # Checks which messages the block sends to mailboxes, or without a block, everything since the test started.
      # @example
      #   assert_notified(author, "mention", count: 1) { comment.save! }
      # @param user [Object, Array] a user or its id, or several; any by default
      # @param event [String, Symbol, nil] any event if omitted
      # @param with see {assert_emitted}
      # @param count see {assert_emitted}
      # @return [Array<Notification>] the matching messages
      # @raise [Minitest::Assertion] if the number of matching messages is not as expected; lists what was sent
      def assert_notified(user = Match::ANY, event = nil, with: Match::ANY, count: nil, &block)
        assert_recorded(NotificationMatch.new(user, event, message: with, count: count), :notifications, &block)
      end

      # @param user see {assert_notified}
      # @param event see {assert_notified}
      # @param with see {assert_notified}
      # @return [void]
      # @raise see {assert_notified}
      def refute_notified(user = Match::ANY, event = nil, with: Match::ANY, &block)
        refute_recorded(NotificationMatch.new(user, event, message: with), :notifications, &block)
      end

      # Checks what the block revokes, or without a block, everything since the test started.
      # @example
      #   assert_revoked(user: user) { delete session_path }
      # @param user [Object, nil] the user or its id; any by default
      # @param room [Object, nil] see {NoDevent::Room.of}; any by default, and `nil` for revocations without a room
      # @param count see {assert_emitted}
      # @return [Array<Revocation>] the matching revocations
      # @raise [Minitest::Assertion] if the number of matching revocations is not as expected; lists what was revoked
      def assert_revoked(user: Match::ANY, room: Match::ANY, count: nil, &block)
        assert_recorded(RevocationMatch.new(user: user, room: room, count: count), :revocations, &block)
      end

      # @param user see {assert_revoked}
      # @param room see {assert_revoked}
      # @return [void]
      # @raise see {assert_revoked}
      def refute_revoked(user: Match::ANY, room: Match::ANY, &block)
        refute_recorded(RevocationMatch.new(user: user, room: room), :revocations, &block)
      end

      # Checks which channels pages subscribe to in the block, or without a block, since the test started.
      # @example
      #   assert_subscribed(:chat) { get "/" }
      # @param channels [Array<String, Symbol>] each of them; any by default
      # @param count see {assert_emitted}
      # @return [Array<Subscription>] the matching subscriptions
      # @raise [Minitest::Assertion] if one of the channels is missing; lists what was subscribed to
      def assert_subscribed(*channels, count: nil, &block)
        assert_recorded(SubscriptionMatch.new("subscribed", channels.flatten, count: count), :subscriptions, &block)
      end

      # @param channels see {assert_subscribed}
      # @return [void]
      # @raise see {assert_subscribed}
      def refute_subscribed(*channels, &block)
        refute_recorded(SubscriptionMatch.new("subscribed", channels.flatten), :subscriptions, &block)
      end

      # @param channels see {assert_subscribed}
      # @param count see {assert_emitted}
      # @return [Array<Subscription>] the matching ones
      # @raise see {assert_subscribed}
      def assert_unsubscribed(*channels, count: nil, &block)
        assert_recorded(SubscriptionMatch.new("unsubscribed", channels.flatten, count: count), :subscriptions, &block)
      end

      # Checks what is pushed in the block, or without a block, since the test started.
      # @example
      #   assert_pushed({ text: "Hello" }, to: :chat) { post "/messages", params: { text: "Hello" } }
      # @param message the expected message, compared after conversion to JSON, or an object that matches it by `===`;
      #   any by default
      # @param to [String, Symbol, Array] channels, all of which it is pushed to; any by default
      # @param count see {assert_emitted}
      # @return [Array<Push>] the matching pushes
      # @raise [Minitest::Assertion] if the number of matching pushes is not as expected; lists what was pushed
      def assert_pushed(message = Match::ANY, to: Match::ANY, count: nil, &block)
        assert_recorded(PushMatch.new(message, to: to, count: count), :pushes, &block)
      end

      # @param message see {assert_pushed}
      # @param to see {assert_pushed}
      # @return [void]
      # @raise see {assert_pushed}
      def refute_pushed(message = Match::ANY, to: Match::ANY, &block)
        refute_recorded(PushMatch.new(message, to: to), :pushes, &block)
      end

      private

      def assert_recorded(match, kind, &block)
        records = recorded(kind, &block)
        assert(match.found?(records), -> { match.failure(records) })
        match.in(records)
      end

      def refute_recorded(match, kind, &block)
        records = recorded(kind, &block)
        assert(match.in(records).empty?, -> { match.failure_when_negated(records) })
      end

      def recorded(kind)
        return Testing.public_send(kind) unless block_given?

        before = Testing.public_send(kind).size
        yield
        Testing.public_send(kind).drop(before)
      end
    end
  end
end

Minitest::Test.include(NoDevent::Testing::Assertions)
