# frozen_string_literal: true

require "json"
require "nodevent/doctor/http"

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
        url = config.url or raise ConfigurationError, "presence needs the server's address: set `url:` (now `false`)"
        uri = URI("#{url.chomp('/')}/api#{config.namespace}/rooms/#{escape(room)}/presence")
        status, body = get(uri, key)
        raise ServerError, refusal(uri, status, body) unless status == "200"

        of(body)
      end

      # @api private
      def key_lifetime(max)
        [KEY_LIFETIME, max].compact.min
      end

      private

      def get(uri, key)
        response = Doctor::Http.get(uri.to_s, key)
        [response.code, response.body.to_s.dup.force_encoding(Encoding::UTF_8)]
      rescue Doctor::Http::Failed => e
        raise ServerError, "#{Text.clean(uri.origin)} is unavailable: #{e.message}"
      end

      def of(body)
        list = JSON.parse(body)
        members = list.fetch("members").map { |one| Member.new(*one.values_at("user", "info", "connections")) }
        new(list.fetch("count"), list.fetch("large"), list.fetch("complete"), members)
      rescue JSON::ParserError, KeyError, NoMethodError, TypeError
        raise ServerError, "the response is not that of a NoDevent server"
      end

      def refusal(uri, status, body)
        error = JSON.parse(body).values_at("error", "hint").compact.join("; ")
        "#{Text.clean(uri.origin)} refused with #{status}: #{Text.clean(error)}"
      rescue JSON::ParserError, NoMethodError, TypeError
        "#{Text.clean(uri.origin)} refused with #{Text.clean(status)}"
      end

      def escape(room)
        room.b.gsub(/[^A-Za-z0-9\-._~]/n) { |byte| format("%%%02X", byte.ord) }
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
