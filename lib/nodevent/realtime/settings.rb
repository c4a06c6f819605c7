# frozen_string_literal: true

module NoDevent
  class Realtime
    # The registry for one machine, and for development: pushes are sent to the server over HTTP. The server keeps
    # everything in memory, or in its Redis.
    module SimpleRegistry
      # @api private
      # @param config [Configuration] that of the namespace
      # @return [Configuration] the same with where it publishes
      def self.publishing(config, _redis)
        config.redis ? config.publishing_to(nil) : config
      end
    end

    # The registry for several machines: pushes are published to Redis, which the servers share.
    module RedisRegistry
      # @api private
      # @param config see {SimpleRegistry.publishing}
      # @param redis [Hash, String, nil] another Redis than that of the namespace
      # @return see {SimpleRegistry.publishing}
      # @raise [ConfigurationError] without any Redis
      def self.publishing(config, redis)
        return config.publishing_to(Configuration.from("redis" => redis)) if redis
        return config if config.redis

        raise ConfigurationError, "#{config.namespace}: no `redis`, and the registry is Redis, the default in " \
                                  "production; write `redis: {url: redis://…}`, or `realtime.registry = " \
                                  "NoDevent::Realtime::SimpleRegistry` for a server with the memory engine"
      end
    end

    # The settings of pages and sockets, with the names of pakyow-realtime.
    class Settings
      # @return [Boolean] whether pages get an id. Without it, subscriptions and pushes do nothing and return `nil`
      attr_accessor :enabled

      def initialize
        @enabled = true
      end

      # @return [Module] {RedisRegistry} in production, otherwise {SimpleRegistry}
      def registry
        @registry || (Configuration::Document.environment == "production" ? RedisRegistry : SimpleRegistry)
      end

      # @param registry [Module, nil] {RedisRegistry} or {SimpleRegistry}; `nil` for the default
      # @return [void]
      # @raise [ArgumentError] if it is another one
      def registry=(registry)
        unless [nil, SimpleRegistry, RedisRegistry].include?(registry)
          raise ArgumentError, "realtime.registry is NoDevent::Realtime::RedisRegistry or SimpleRegistry, not " \
                               "#{Text.value(registry)}"
        end
        change { @registry = registry }
      end

      # @return [Hash, String, nil] the Redis of pushes; `nil` for that of the namespace
      attr_reader :redis

      # @param redis [Hash, String, nil] as `redis` of the configuration: `{ url: "redis://127.0.0.1:6379" }`. The
      #   server has the same one
      # @return [void]
      # @raise [ConfigurationError] if it is invalid
      def redis=(redis)
        Configuration.from("redis" => redis).redis_target if redis
        change { @redis = redis }
      rescue ConfigurationError => e
        raise ConfigurationError, e.message.sub("NoDevent::Emitter.config: redis", "realtime.redis")
      end

      # @return [String] the namespace of the server, with its slash. pakyow-realtime had the name of a key of Redis
      #   here; all keys and channels of a namespace have its name
      def redis_key
        config.namespace
      end

      # @param name [String, Symbol, nil] the namespace whose configuration has `pages`; `nil` for the first one
      # @return [void]
      def redis_key=(name)
        change { @namespace = name && "/#{name.to_s.delete_prefix('/')}" }
      end
      alias namespace redis_key
      alias namespace= redis_key=

      # @api private
      # @return [Configuration] that of the namespace
      # @raise [ConfigurationError] if no namespace has `pages`
      def config
        current = Emitter.config
        return @chosen.last if @chosen&.first.equal?(current)

        chosen = choose(current) or raise ConfigurationError, NO_PAGES
        @chosen = [current, chosen]
        chosen
      end

      # @api private
      # @return [Configuration, nil] that of the namespace; nil if pages call routes only, over Socket.IO
      # @raise [ConfigurationError] see {config}
      def config_of_pages
        Emitter.config.namespaces.none?(&:pages) && Emitter.config.namespaces.any?(&:calls) ? nil : config
      end

      # @api private
      # @return [Configuration] the same with where pushes are published
      # @raise [ConfigurationError] if there is no such place
      def publishing
        config = self.config
        # With a publisher of tests, or of the application, the registry is not used.
        return config if Publisher.custom
        return @publishing.last if @publishing&.first.equal?(config)

        publishing = registry.publishing(config, redis)
        # One object as long as the configuration is the same: publishers are found by its identity.
        @publishing = [config, publishing]
        publishing
      end

      private

      def change
        yield
        @chosen = @publishing = nil
      end

      NO_PAGES = "no namespace has `pages`, which NoDevent::Realtime needs; write `pages: {secret: …}` below a " \
                 "namespace in config/nodevent.yml"

      private_constant :NO_PAGES

      # Tests record what would be sent, also without a configuration.
      def choose(current)
        return current.namespaced(@namespace) if @namespace

        current.namespaces.find(&:pages) || (current if Publisher.custom)
      end
    end
  end
end
