# frozen_string_literal: true

require "nodevent/testing/match"

module NoDevent
  module Testing
    # The revocations that a test expects.
    class RevocationMatch < Match
      # @param user [Object, nil] the user or its id; `nil`: the revocation has none
      # @param room [Object, nil] see {NoDevent::Room.of}; `nil`: the revocation has none
      # @param count [Integer, Range, nil] the expected number; at least one if nil
      def initialize(user: ANY, room: ANY, count: nil)
        super(count)
        @user = user.equal?(ANY) || user.nil? ? user : User.id(user, "an expectation")
        @room = room.equal?(ANY) || room.nil? ? room : Room.of(room)
      end

      private

      def matches?(revocation)
        (@user.equal?(ANY) || @user == revocation.user) && (@room.equal?(ANY) || @room == revocation.room)
      end

      def description
        parts = []
        parts << %("user #{@user}") if @user.is_a?(String)
        parts << %(room "#{@room}") if @room.is_a?(String)
        parts.empty? ? "anything" : parts.join(" in ")
      end

      def verb
        "revoked"
      end
    end
  end
end
