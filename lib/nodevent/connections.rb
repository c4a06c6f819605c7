# frozen_string_literal: true

module NoDevent
  # The connections that a user had when the server was asked. {NoDevent.connections} returns them.
  #
  # @example
  #   NoDevent.connections(user).any?    # => true
  #   NoDevent.connections(user).count   # => 2
  class Connections
    class << self
      # Asks the server at `url` of the configuration.
      # @api private
      # @return [Connections]
      # @raise [ServerError]
      # @raise [ConfigurationError]
      def read(config, user)
        found = ServerRequest.get(config, ["users", user, "connections"], config.publish_key, "connections")
        new(found.fetch("count"), found.fetch("servers").to_h)
      rescue KeyError, NoMethodError, TypeError
        raise ServerError, ServerRequest::NOT_A_SERVER
      end
    end

    # @return [Integer] the number of connections on all servers: tabs, devices and programs
    attr_reader :count
    # @return [Hash{String => Integer}] the number of connections by the id of the server. A restart changes the id
    attr_reader :servers

    # @api private
    def initialize(count, servers)
      @count = count
      @servers = servers.freeze
      freeze
    end

    # @return [Boolean] whether the user has a connection
    def any?
      count.positive?
    end
  end
end
