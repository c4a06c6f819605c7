# frozen_string_literal: true

require "nodevent/testing/match"

module NoDevent
  module Testing
    # The channels that a test expects pages to have subscribed to, or unsubscribed from.
    class SubscriptionMatch < Match
      # @param verb [String] "subscribed" or "unsubscribed"
      # @param channels [Array<String, Symbol>] each of them; any by default
      # @param page [String, nil] the digest of a page; any if nil
      # @param count [Integer, Range, nil] the expected number; at least one if nil
      def initialize(verb, channels = [], page: nil, count: nil)
        super(count)
        @verb = verb
        @channels = channels.empty? ? [] : NoDevent::Realtime::Channels.names(channels, "an expectation")
        @page = page
      end

      # @param records [Array<Subscription>]
      # @return [Boolean] whether each of the channels was subscribed to, or unsubscribed from, as often as expected
      def found?(records)
        return super if @channels.size < 2

        @channels.all? { |channel| self.class.new(@verb, [channel], page: @page, count: @count).found?(records) }
      end

      private

      def matches?(subscription)
        subscription.verb == @verb && (@page.nil? || @page == subscription.page) &&
          (@channels.empty? || @channels.include?(subscription.channel))
      end

      def description
        text = @channels.empty? ? "anything" : @channels.map { |name| %("#{name}") }.join(", ")
        @page ? "#{text} of page #{@page}" : text
      end

      attr_reader :verb

      # The records of the other verb are not what was expected.
      def listing(records)
        super(records.select { |record| record.verb == @verb })
      end
    end
  end
end
