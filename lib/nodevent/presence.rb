# frozen_string_literal: true

module NoDevent
  # Who was in a room when the server was asked. {NoDevent.presence} returns it.
  #
  # @example
  #   NoDevent.presence(discussion).users   # => ["7", "12"]
  class Presence
    # A member: a user with one or more connections.
    # @!attribute user
    #   @return [String] the id, as in the user's token
    # @!attribute info
    #   @return [Object, nil] the `info` of the token
    # @!attribute connections
    #   @return [Integer] 0: the last one has just been lost, and the user may return
    Member = Struct.new(:user, :info, :connections)

    # How long the key is valid with which the server is asked. Seconds.
    KEY_LIFETIME = 60

    private_constant :KEY_LIFETIME

    class << self
      # Asks the server at `url` of the configuration.
      # @api private
      # @return [Presence]
      # @raise [ServerError]
      def read(config, room, key)
        list = ServerRequest.get(config, ["rooms", room, "presence"], key, "presence")
        members = list.fetch("members").map { |one| Member.new(*one.values_at("user", "info", "connections")) }
        new(list.fetch("count"), list.fetch("large"), list.fetch("complete"), members)
      rescue KeyError, NoMethodError, TypeError
        raise ServerError, ServerRequest::NOT_A_SERVER
      end

      # @api private
      def key_lifetime(max)
        [KEY_LIFETIME, max].compact.min
      end
    end

    # @return [Integer] the number of members
    attr_reader :count
    # @return [Array<Member>] the members; empty if the room is large
    attr_reader :members

    # @api private
    def initialize(count, large, complete, members)
      @count = count
      @large = large
      @complete = complete
      @members = members.freeze
      freeze
    end

    # @return [Array<String>] the ids of the members
    def users
      members.map(&:user)
    end

    # @return [Boolean] whether the room has so many members that the server only knows their number
    #   (`presence: { max_size: }`)
    def large?
      @large
    end

    # @return [Boolean] whether all members are listed
    def complete?
      @complete
    end

    # @param user [String, Symbol, Integer, #id] as for {Token.issue}
    # @return [Boolean] whether the user is listed
    def include?(user)
      id = user.respond_to?(:id) ? user.id : user
      users.include?(id.to_s)
    end
  end
end
