# frozen_string_literal: true

require "nodevent/testing/push_match"
require "nodevent/testing/subscription_match"

module NoDevent
  module Testing
    # What tests ask about the visitor's page, with the names of pakyow-realtime. Included in the examples of RSpec and
    # the tests of Minitest.
    # @example
    #   get "/"
    #   expect(subscribed?(:chat)).to be(true)
    #   expect(pushed?({ text: "Hello" }, to: :chat)).to be(true)
    module Pages
      # @param channels [Array<String, Symbol>] any by default
      # @return [Boolean] whether a page has subscribed to all of them since the test started, also if it has
      #   unsubscribed again
      def subscribed?(*channels)
        SubscriptionMatch.new("subscribed", channels.flatten).found?(Testing.subscriptions)
      end

      # @param channels [Array<String, Symbol>] any by default
      # @return [Boolean] whether a page has unsubscribed from all of them since the test started
      def unsubscribed?(*channels)
        SubscriptionMatch.new("unsubscribed", channels.flatten).found?(Testing.subscriptions)
      end

      # @param message the expected message, compared after conversion to JSON, or an object that matches it by `===`;
      #   any by default
      # @param to [String, Symbol, Array] channels, all of which it was pushed to; any by default
      # @return [Boolean] whether it was pushed since the test started
      def pushed?(message = Match::ANY, to: Match::ANY)
        PushMatch.new(message, to: to).found?(Testing.pushes)
      end
    end
  end
end
