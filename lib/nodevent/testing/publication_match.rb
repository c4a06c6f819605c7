# frozen_string_literal: true

require "nodevent/testing/match"

module NoDevent
  module Testing
    # The publications that a test expects.
    class PublicationMatch < Match
      # @param event [String, Symbol, nil] any event if nil
      # @param room see {NoDevent::Room.of}; any by default. An event for several targets may have it among its rooms
      # @param message the expected message, compared after conversion to JSON, or an object that matches it by `===`;
      #   any by default
      # @param count [Integer, Range, nil] the expected number; at least one if nil
      # @param targets [Hash] `rooms:` and `users:` that an event for several targets has among its own, and
      #   `broadcast:`, whether it is for all connections
      # @raise [ArgumentError] for other keywords
      def initialize(event = nil, room: ANY, message: ANY, count: nil, **targets)
        super(count)
        @event = event&.to_s
        @rooms = room.equal?(ANY) ? [] : [Room.of(room)]
        expect_message(message)
        expect_targets(**targets)
      end

      private

      def expect_targets(rooms: nil, users: nil, broadcast: nil)
        @rooms += Targets.list(rooms).map { |one| Room.of(one) }
        @users = Targets.list(users).map { |one| User.id(one, "an expectation") }
        @broadcast = broadcast
      end

      def matches?(publication)
        (@event.nil? || @event == publication.event) && addresses?(publication) && same?(publication.message)
      end

      def addresses?(publication)
        rooms = [*publication.room, *publication.rooms]
        (@rooms - rooms).empty? && (@users - (publication.users || [])).empty? &&
          (@broadcast.nil? || @broadcast == (publication.broadcast || false))
      end

      def description
        targets = [*@rooms, *@users.map { |user| "user #{user}" }].map { |name| %("#{name}") }
        targets << "all connections" if @broadcast
        targets << "not all connections" if @broadcast == false
        text = @event ? %("#{@event}") : "anything"
        text += " to #{targets.join(', ')}" if targets.any?
        text + with_message
      end

      def verb
        "emitted"
      end
    end
  end
end
