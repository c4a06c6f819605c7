# frozen_string_literal: true

require "nodevent/testing/match"

module NoDevent
  module Testing
    # The messages to mailboxes that a test expects.
    class NotificationMatch < Match
      # @param user [Object, Array] a user or its id, or several, that the message is for; any by default
      # @param event [String, Symbol, nil] any event if nil
      # @param message see {PublicationMatch#initialize}
      # @param count [Integer, Range, nil] the expected number; at least one if nil
      def initialize(user = ANY, event = nil, message: ANY, count: nil)
        super(count)
        @users = user.equal?(ANY) ? [] : Targets.list(user).map { |one| User.id(one, "an expectation") }
        @event = event&.to_s
        expect_message(message)
      end

      private

      def matches?(notification)
        (@event.nil? || @event == notification.event) && (@users - notification.users).empty? &&
          same?(notification.message)
      end

      def description
        text = @event ? %("#{@event}") : "anything"
        text += " for #{@users.map { |user| %("user #{user}") }.join(', ')}" if @users.any?
        text + with_message
      end

      def verb
        "notified"
      end
    end
  end
end
