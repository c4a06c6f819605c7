# frozen_string_literal: true

module NoDevent
  class Configuration
    # Derives configurations that publish elsewhere. Included in {Configuration}.
    # @api private
    module Publishing
      # @param other [Configuration, nil] where it publishes: to the Redis of another configuration, or with nil, over
      #   HTTP
      # @return [Configuration] the settings of this one otherwise
      def publishing_to(other)
        target = other ? other.redis_settings : { redis: nil, redis_target: nil, over_http: true }
        settings = @settings.merge(target).freeze
        dup.tap { |copy| copy.replace_settings(settings) }
      end

      protected

      def redis_settings
        @settings.slice(:redis, :redis_target)
      end

      def replace_settings(settings)
        @settings = settings
        @route = Route.of(self)
        @others = {}
        freeze
      end
    end
  end
end
