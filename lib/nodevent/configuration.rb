# frozen_string_literal: true

require "nodevent/configuration/document"
require "nodevent/configuration/history"
require "nodevent/configuration/native_target"
require "nodevent/configuration/redis"
require "nodevent/configuration/values"

module NoDevent
  # The gem's settings, validated when they are read and immutable. The server reads the same file; keys that only the
  # server uses are not validated here.
  class Configuration
    # The default address of the server for browsers.
    PUBLIC_URL = "http://localhost:8080"
    # The default namespace.
    NAMESPACE = "/nodevent"
    # The limits of the native publisher: publications, bytes of JSON, seconds to wait with `wait: true`, and seconds
    # that the flush at exit may take.
    Limits = Struct.new(:queue, :queue_bytes, :timeout, :shutdown_timeout, keyword_init: true)
    # Their defaults.
    LIMITS = { queue: 10_000, queue_bytes: 16 * 1024 * 1024, timeout: 5.0, shutdown_timeout: 2.0 }.freeze

    private_constant :LIMITS

    # @return [String] the server's address for browsers, without a trailing slash
    attr_reader :public_url
    # @return [String] with its leading slash
    attr_reader :namespace
    # @return [String, nil] the secret that signs keys
    attr_reader :secret
    # @return [Hash, nil] the `redis` section, with Strings as keys
    attr_reader :redis
    # @return [String, nil] the server to publish to over HTTP; nil with `url: false`
    attr_reader :url
    # @return [String, nil] the key that authorizes publishing over HTTP
    attr_reader :publish_key
    # @return [Limits]
    attr_reader :publisher
    # @api private
    # @return [Hash] `default` and `prefixes`: how much history each room keeps
    attr_reader :history

    class << self
      # @param settings [Hash, Configuration]
      # @return [Configuration]
      # @raise [ConfigurationError]
      def from(settings)
        return settings if settings.is_a?(Configuration)
        return new(Document.from_hash(settings)) if settings.respond_to?(:to_h)

        raise ConfigurationError, "NoDevent::Emitter.config= expects a Hash, not #{settings.inspect[0, 60]}"
      end

      # @param path [String]
      # @return [Configuration]
      # @raise [ConfigurationError]
      def load_file(path)
        new(Document.read(path))
      end

      # @return [Configuration] the configuration file's, or the defaults if there is none
      # @raise [ConfigurationError]
      def load_default
        path = Document.find(root || Dir.pwd)
        path ? load_file(path) : new(Document.from_hash({}))
      end

      # @return [String, nil] the folder that contains `config/nodevent.yml`; set by the railtie in Rails
      attr_accessor :root
    end

    # @api private
    def initialize(document)
      @document = document
      values = Values.new(document, NAMESPACE)
      @namespace = values.namespace
      @secret = values.secret
      @publish_key = values.text("publish_key")
      @redis_path = values.key_path("redis")
      @redis = Redis.section(values.value("redis"), document, @redis_path)
      @public_url = values.public_url || PUBLIC_URL
      @over_http = values.url?
      @url = values.url(@public_url)
      @history = read_history(values)
      @channel_per_room = values.flag("channel_per_room")
      @publisher = limits(values)
      @fixed = { "public_url" => public_url, "host" => public_url, "namespace" => namespace, "secret" => secret,
                 "redis" => redis, "url" => url,
                 "publish_key" => publish_key }.freeze
      freeze
    end

    # @param key [String, Symbol]
    # @return [Object, nil] the setting; for keys that the gem does not use, the configured value
    def [](key)
      key = key.to_s
      @fixed.fetch(key) { @document.top[key] }
    end

    # @return [Hash{String => Object}] the settings the gem uses
    def to_h
      @fixed.dup
    end

    # @return [Boolean] whether `url` is configured
    def publishes_over_http?
      @over_http
    end

    # @return [String, nil] the file that it was read from
    def source
      @document.path
    end

    # Without secrets.
    def inspect
      shown = { public_url: public_url, namespace: namespace, secret: secret && "…", redis: redis && "…",
                url: url }.compact
      "#<#{self.class} #{shown.map { |key, value| "#{key}: #{value}" }.join(', ')}>"
    end

    # @api private
    # @return [Boolean] whether each room has its own channel in Redis
    def channel_per_room?
      @channel_per_room
    end

    # @api private
    # @return [Hash] the address and credentials of Redis for the native publisher
    # @raise [ConfigurationError]
    def redis_target
      Redis.target(redis, ->(key, problem) { @document.invalid!("#{@redis_path}.#{key}", problem) })
    end

    private

    def read_history(values)
      invalid = lambda do |key, problem|
        @document.invalid!([values.key_path("history"), key].compact.join("."), problem)
      end
      History.read(values.value("history"), values, invalid)
    end

    def limits(values)
      given = values.mapping("publisher")
      unknown = given.keys - LIMITS.keys.map(&:to_s)
      if unknown.any?
        @document.invalid!("publisher.#{unknown.first}",
                           "is unknown; known keys are #{LIMITS.keys.join(', ')}")
      end

      Limits.new(
        queue: values.count("publisher.queue", given["queue"], LIMITS[:queue]),
        queue_bytes: values.count("publisher.queue_bytes", given["queue_bytes"], LIMITS[:queue_bytes]),
        timeout: values.seconds("publisher.timeout", given["timeout"], LIMITS[:timeout]),
        shutdown_timeout: values.seconds("publisher.shutdown_timeout", given["shutdown_timeout"],
                                         LIMITS[:shutdown_timeout])
      ).freeze
    end
  end
end
