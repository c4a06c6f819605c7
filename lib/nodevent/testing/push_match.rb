# frozen_string_literal: true

require "nodevent/testing/match"

module NoDevent
  module Testing
    # The pushes that a test expects.
    class PushMatch < Match
      # @param message the expected message, compared after conversion to JSON, or an object that matches it by `===`;
      #   any by default
      # @param to [String, Symbol, Array] channels that are among those of the push; any by default. A pattern is that
      #   of the push, and matches no names
      # @param page [String, nil] the digest of the page that is pushed to; any if nil
      # @param count [Integer, Range, nil] the expected number; at least one if nil
      def initialize(message = ANY, to: ANY, page: nil, count: nil)
        super(count)
        expect_message(message)
        @channels = to.equal?(ANY) ? [] : NoDevent::Realtime::Channels.names([to], "an expectation")
        @page = page
      end

      # A push to several channels is one for each.
      # @param records [Array<Push>]
      # @return [Boolean]
      def found?(records)
        return super if @channels.size < 2

        @channels.all? { |channel| with_channel(channel).found?(records) }
      end

      private

      def with_channel(channel)
        self.class.new(@message, to: channel, page: @page, count: @count)
      end

      def matches?(push)
        (@channels.empty? || (@channels & push.channels).any?) && (@page.nil? || @page == push.page) &&
          same?(push.message)
      end

      def description
        text = message? ? with_message.delete_prefix(" with ") : "anything"
        text += " to #{@channels.map { |name| %("#{name}") }.join(', ')}" if @channels.any?
        @page ? "#{text} of page #{@page}" : text
      end

      def verb
        "pushed"
      end
    end
  end
end
