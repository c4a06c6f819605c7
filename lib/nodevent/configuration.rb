# frozen_string_literal: true

require "nodevent/configuration/document"
require "nodevent/configuration/history"
require "nodevent/configuration/redis"
require "nodevent/configuration/values"

module NoDevent
  # What the gem needs to know, checked once and never read again. The file is the server's as well; what only the
  # server needs is not looked at.
  class Configuration
    # The address browsers use, if none is configured.
    HOST = "http://localhost:8080"
    # The namespace, if none is configured.
    NAMESPACE = "/nodevent"
    # The publisher's bounds and patience.
    Limits = Struct.new(:queue, :queue_bytes, :timeout, :flush, keyword_init: true)
    # Their defaults: emissions, bytes of JSON, seconds for `wait: true`, seconds at exit.
    LIMITS = { queue: 10_000, queue_bytes: 16 * 1024 * 1024, timeout: 5.0, flush: 2.0 }.freeze

    private_constant :LIMITS

    # @return [String] the address of the server for browsers, without a slash at its end
    attr_reader :host
    # @return [String] with its leading slash
    attr_reader :namespace
    # @return [String, nil] what signs keys
    attr_reader :secret
    # @return [Hash, nil] the `redis` section, with Strings as keys
    attr_reader :redis
    # @return [String, nil] where the gem publishes over HTTP; nil where that is switched off by `url: false`
    attr_reader :url
    # @return [String, nil] what permits publishing over HTTP
    attr_reader :publish_key
    # @return [Limits]
    attr_reader :publisher

    class << self
      # @param settings [Hash, Configuration]
      # @return [Configuration]
      # @raise [ConfigurationError]
      def from(settings)
        return settings if settings.is_a?(Configuration)
        return new(Document.given(settings)) if settings.respond_to?(:to_h)

        raise ConfigurationError, "NoDevent::Emitter.config= takes a Hash, not #{settings.inspect[0, 60]}"
      end

      # @param path [String]
      # @return [Configuration]
      # @raise [ConfigurationError]
      def load_file(path)
        new(Document.read(path))
      end

      # @return [Configuration] that of the file found, or the defaults
      # @raise [ConfigurationError]
      def found
        path = Document.find(root || Dir.pwd)
        path ? load_file(path) : new(Document.given({}))
      end

      # @return [String, nil] the folder that holds `config/nodevent.yml`; Rails sets its own
      attr_accessor :root
    end

    # @api private
    def initialize(document)
      @document = document
      values = Values.new(document, NAMESPACE)
      @namespace = values.namespace
      @secret = values.secret
      @publish_key = values.text("publish_key")
      @redis_place = values.place("redis")
      @redis = Redis.section(values.value("redis"), document, @redis_place)
      @host = values.host || HOST
      @over_http = values.url?
      @url = values.url(@host)
      @history = history(values)
      @by_room = fanout(values)
      @publisher = limits(values)
      @fixed = { "host" => host, "namespace" => namespace, "secret" => secret, "redis" => redis, "url" => url,
                 "publish_key" => publish_key }.freeze
      freeze
    end

    # @param key [String, Symbol]
    # @return [Object, nil] the setting; of a key that the gem does not know, what was given
    def [](key)
      key = key.to_s
      @fixed.fetch(key) { @document.top[key] }
    end

    # @return [Hash{String => Object}] the settings the gem uses
    def to_h
      @fixed.dup
    end

    # @return [Boolean] whether `url` was configured
    def publishes_over_http?
      @over_http
    end

    # @return [String, nil] the file it came from
    def source
      @document.path
    end

    # Secrets never print themselves.
    def inspect
      shown = { host: host, namespace: namespace, secret: secret && "…", redis: redis && "…", url: url }.compact
      "#<#{self.class} #{shown.map { |key, value| "#{key}: #{value}" }.join(', ')}>"
    end

    # @api private
    # @return [Hash] what the native publisher is made with
    def publisher_target
      refuse = ->(key, problem) { @document.refuse("#{@redis_place}.#{key}", problem) }
      engine = redis ? { redis: redis_target(refuse) } : { http: { url: url, publish_key: publish_key } }
      { engine: engine, queue_emissions: publisher.queue, queue_bytes: publisher.queue_bytes }
    end

    private

    def redis_target(refuse)
      Redis.target(redis, refuse).merge(history: @history, fanout_by_room: @by_room)
    end

    def history(values)
      refuse = lambda do |key, problem|
        @document.refuse([values.place("history"), key].compact.join("."), problem)
      end
      History.target(values.value("history"), values, refuse)
    end

    def fanout(values)
      found = values.text("fanout")
      return found == "room" if [nil, "room", "namespace"].include?(found)

      @document.refuse(values.place("fanout"), "is #{found}; write namespace or room")
    end

    def limits(values)
      given = values.mapping("publisher")
      unknown = given.keys - LIMITS.keys.map(&:to_s)
      @document.refuse("publisher.#{unknown.first}", "is unknown; known are #{LIMITS.keys.join(', ')}") if unknown.any?

      Limits.new(
        queue: values.count("publisher.queue", given["queue"], LIMITS[:queue]),
        queue_bytes: values.count("publisher.queue_bytes", given["queue_bytes"], LIMITS[:queue_bytes]),
        timeout: values.seconds("publisher.timeout", given["timeout"], LIMITS[:timeout]),
        flush: values.seconds("publisher.flush", given["flush"], LIMITS[:flush])
      ).freeze
    end
  end
end
