# frozen_string_literal: true

require "nodevent"
require "nodevent/testing"
require "rspec/core"
require "rspec/matchers"

module NoDevent
  module Testing
    # `have_emitted` and others, and the questions of {Pages}, included in all examples.
    module Matchers
      include Pages

      # @example a block
      #   expect { comment.save! }.to have_emitted("create").to(Comment).once
      # @example everything since the example started
      #   expect(NoDevent).to have_emitted("update").to(discussion).with(a_hash_including("title" => "New"))
      # @example users, several rooms, all connections
      #   expect { comment.save! }.to have_emitted("mention").to(users: [ann, bob])
      # @example counts
      #   expect { import }.to have_emitted("create").to(Comment).exactly(3).times
      #   expect { import }.to have_emitted("create").exactly(2..5).times
      #   expect { import }.not_to have_emitted
      # @param event [String, Symbol, nil] any event if omitted
      # @return [HaveEmitted]
      def have_emitted(event = nil) # rubocop:disable Naming/PredicateName -- a matcher
        HaveEmitted.new(event)
      end

      # Messages to mailboxes: `NoDevent::Emitter.notify`.
      # @example
      #   expect { comment.save! }.to have_notified(author, "mention").with(a_hash_including("title" => "Lunch?"))
      #   expect { comment.save! }.not_to have_notified
      # @param user [Object, Array] a user or its id, or several; any by default
      # @param event [String, Symbol, nil] any event if omitted
      # @return [HaveNotified]
      def have_notified(user = Match::ANY, event = nil) # rubocop:disable Naming/PredicateName -- a matcher
        HaveNotified.new(user, event)
      end

      # Revocations: `NoDevent.revoke`.
      # @example
      #   expect { delete session_path }.to have_revoked(user: user)
      # @param user [Object, nil] the user or its id; any by default
      # @param room [Object, nil] see {NoDevent::Room.of}; any by default, and `nil` for revocations without a room
      # @return [HaveRevoked]
      def have_revoked(user: Match::ANY, room: Match::ANY) # rubocop:disable Naming/PredicateName -- a matcher
        HaveRevoked.new(user, room)
      end

      # Channels that a page subscribes to.
      # @example
      #   expect { get "/" }.to have_subscribed(:chat)
      # @param channels [Array<String, Symbol>] each of them; any by default
      # @return [HaveSubscribed]
      def have_subscribed(*channels) # rubocop:disable Naming/PredicateName -- a matcher
        HaveSubscribed.new("subscribed", channels.flatten)
      end

      # Channels that a page unsubscribes from.
      # @param channels [Array<String, Symbol>] each of them; any by default
      # @return [HaveSubscribed]
      def have_unsubscribed(*channels) # rubocop:disable Naming/PredicateName -- a matcher
        HaveSubscribed.new("unsubscribed", channels.flatten)
      end

      # Pushes to channels.
      # @example
      #   expect { post "/messages", params: { text: "Hello" } }.to have_pushed({ text: "Hello" }).to(:chat)
      # @param message the expected message, compared after conversion to JSON, or a matcher; any by default
      # @return [HavePushed]
      def have_pushed(message = Match::ANY) # rubocop:disable Naming/PredicateName -- a matcher
        HavePushed.new(message)
      end
    end

    # What the matchers have in common: counts, blocks and messages.
    # @abstract
    class RecordMatcher
      include RSpec::Matchers::Composable

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
        @records = records_of(actual)
        match.found?(@records)
      end

      def does_not_match?(actual)
        @records = records_of(actual)
        match.in(@records).empty?
      end

      def supports_block_expectations?
        true
      end

      def supports_value_expectations?
        true
      end

      def failure_message
        match.failure(@records)
      end

      def failure_message_when_negated
        match.failure_when_negated(@records)
      end

      private

      def with_option(name, value)
        (@options ||= {})[name] = value
        self
      end

      def match
        @match ||= build(@options || {})
      end

      def records_of(actual)
        return recorded unless actual.is_a?(Proc)

        before = recorded.size
        actual.call
        recorded.drop(before)
      end
    end

    # The matcher that {Matchers#have_emitted} returns.
    class HaveEmitted < RecordMatcher
      def initialize(event)
        super()
        @event = event
      end

      # @param room see {NoDevent::Room.of}; any by default
      # @param targets [Hash] `rooms:`, `users:` and `broadcast:`, as for {Emitter.to}: the event has all of them
      #   among its targets, and may have more
      # @return [self]
      # @raise [InvalidRoomError] when it matches, if the argument does not name a room
      # @raise [ArgumentError] when it matches, if a user has no id, or for other keywords
      def to(room = Match::ANY, **targets)
        targets.each { |name, value| with_option(name, value) }
        with_option(:room, room)
      end

      # @param message the expected message, compared after conversion to JSON, or a matcher such as
      #   `a_hash_including("id" => 1)`
      # @return [self]
      def with(message)
        with_option(:message, message)
      end

      def description
        "have emitted #{match}"
      end

      private

      def build(options)
        PublicationMatch.new(@event, **options)
      end

      def recorded
        Testing.publications
      end
    end

    # The matcher that {Matchers#have_notified} returns.
    class HaveNotified < RecordMatcher
      def initialize(user, event)
        super()
        @user = user
        @event = event
      end

      # @param message see {HaveEmitted#with}
      # @return [self]
      def with(message)
        with_option(:message, message)
      end

      def description
        "have notified #{match}"
      end

      private

      def build(options)
        NotificationMatch.new(@user, @event, **options)
      end

      def recorded
        Testing.notifications
      end
    end

    # The matcher that {Matchers#have_revoked} returns.
    class HaveRevoked < RecordMatcher
      def initialize(user, room)
        super()
        @user = user
        @room = room
      end

      def description
        "have revoked #{match}"
      end

      private

      def build(options)
        RevocationMatch.new(user: @user, room: @room, **options)
      end

      def recorded
        Testing.revocations
      end
    end

    # The matcher that {Matchers#have_subscribed} and {Matchers#have_unsubscribed} return.
    class HaveSubscribed < RecordMatcher
      def initialize(verb, channels)
        super()
        @verb = verb
        @channels = channels
      end

      # @param digest [String] see {Realtime::Socket#digest}
      # @return [self]
      def for_page(digest)
        with_option(:page, digest)
      end

      def description
        "have #{@verb} #{match}"
      end

      private

      def build(options)
        SubscriptionMatch.new(@verb, @channels, **options)
      end

      def recorded
        Testing.subscriptions
      end
    end

    # The matcher that {Matchers#have_pushed} returns.
    class HavePushed < RecordMatcher
      def initialize(message)
        super()
        @message = message
      end

      # @param channels [Array<String, Symbol>] channels, all of which it is pushed to
      # @return [self]
      def to(*channels)
        with_option(:to, channels.flatten)
      end

      # @param digest [String] see {Realtime::Socket#digest}
      # @return [self]
      def to_page(digest)
        with_option(:page, digest)
      end

      def description
        "have pushed #{match}"
      end

      private

      def build(options)
        PushMatch.new(@message, **options)
      end

      def recorded
        Testing.pushes
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
