# frozen_string_literal: true

module NoDevent
  class Configuration
    # What each call of `emit` needs, found once: the namespace, the largest publication and the longest name of a room
    # in bytes, and whether the publisher is the native one even if there is a `$redis`.
    # @api private
    Route = Struct.new(:channel, :max_size, :max_room, :is_native) do
      # @param config [Configuration]
      # @return [Route, nil] nil if it requires an environment variable that is not set
      def self.of(config)
        native = !config.redis.nil? || config.publishes_over_http?
        new(config.namespace, Encoder.limit(config), config.max_room_name, native).freeze
      rescue ConfigurationError
        nil
      end
    end
  end
end
