# frozen_string_literal: true

require "nodevent/configuration/application"
require "nodevent/configuration/document"
require "nodevent/configuration/history"
require "nodevent/configuration/mailbox"
require "nodevent/configuration/protocols"
require "nodevent/configuration/publisher_limits"
require "nodevent/configuration/key_rules"
require "nodevent/configuration/native_target"
require "nodevent/configuration/pages"
require "nodevent/configuration/publishing"
require "nodevent/configuration/redacted"
require "nodevent/configuration/redis"
require "nodevent/configuration/route"
require "nodevent/configuration/secrets"
require "nodevent/configuration/token_rules"
require "nodevent/configuration/values"

module NoDevent
  # The gem's settings for one namespace, validated when they are read and immutable. The server reads the same file;
  # keys that only the server uses are not validated here.
  #
  # A setting that depends on an environment variable is validated when it is used: an image is built, and a console
  # opened, without the secrets of production.
  class Configuration
    include Unprintable
    include Publishing
    include Application

    # The default address of the server for browsers.
    PUBLIC_URL = "http://localhost:8080"
    # The default namespace.
    NAMESPACE = "/nodevent"
    # The limits of the native publisher: publications, bytes of JSON, seconds to wait with `wait: true`, seconds that
    # the flush at exit may take, and the share of publications that get a trace.
    Limits = Struct.new(:queue, :queue_bytes, :timeout, :shutdown_timeout, :trace_sample_rate, keyword_init: true)
    # The default of the server's `limits: max_publish_size`.
    #
    # # Units
    # Bytes.
    MAX_PUBLISH_SIZE = 1024 * 1024
    # The keys of {#to_h}.
    KEYS = %w[public_url host namespace secret redis url publish_key].freeze

    # The settings that must not be printed.
    SECRETS = %i[secret publish_key hooks_secret pages calls redis redis_target].freeze

    private_constant :MAX_PUBLISH_SIZE, :KEYS, :SECRETS

    # @return [String] with its leading slash
    attr_reader :namespace

    # @api private
    # @return [Route, nil]
    attr_reader :route

    class << self
      # @param settings [Hash, Configuration]
      # @return [Configuration]
      # @raise [ConfigurationError]
      def from(settings)
        return settings if settings.is_a?(Configuration)
        return new(Document.from_hash(settings)) if settings.respond_to?(:to_h)

        # Without the value, which may be a URL with a password.
        raise ConfigurationError, "NoDevent::Emitter.config= expects a Hash, not an object of the class " \
                                  "#{Reflection.class_of(settings)}"
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
    def initialize(document, namespace = nil)
      @document = document
      @values = Values.new(document, NAMESPACE, namespace)
      @namespace = @values.namespace
      @settings = read
      @others = {}
      @route = Route.of(self)
      freeze
    end

    # @return [String] the server's address for browsers, without a trailing slash
    # @raise [ConfigurationError] if it requires an environment variable that is not set; likewise below
    def public_url
      fetch(:public_url)
    end

    # @return [String, nil] the secret that signs keys
    def secret
      fetch(:secret)
    end

    # @return [Hash, nil] the `redis` section, with Strings as keys
    def redis
      fetch(:redis)
    end

    # @return [String, nil] the server to publish to over HTTP; nil with `url: false`
    def url
      fetch(:url)
    end

    # @return [String, nil] the key that authorizes publishing over HTTP
    def publish_key
      fetch(:publish_key)
    end

    # @return [Limits]
    def publisher
      fetch(:publisher)
    end

    # @param key [String, Symbol]
    # @return [Object, nil] the setting; for keys that the gem does not use, the configured value
    def [](key)
      key = key.to_s
      return fetch(:public_url) if key == "host"

      KEYS.include?(key) ? public_send(key) : @document.raw(key)
    end

    # @return [Hash{String => Object}] the settings the gem uses
    def to_h
      KEYS.to_h { |key| [key, self[key]] }
    end

    # @return [Boolean] whether `url` is configured
    def publishes_over_http?
      fetch(:over_http)
    end

    # @return [String, nil] the file that it was read from
    def source
      @document.path
    end

    # @param name [String] with its leading slash
    # @return [Configuration] the settings of another namespace of the same file
    # @raise [ConfigurationError] if there is no such namespace
    def namespaced(name)
      return self if name == namespace

      # One object per namespace, because the publisher of a configuration is found by its identity.
      @others[name] || Publisher.synchronize { @others[name] ||= self.class.new(@document, name) }
    end

    # @return [Array<Configuration>] the settings of all namespaces of the file, this one first
    # @raise [ConfigurationError]
    def namespaces
      [self] + (@values.sections - [namespace]).map { |name| namespaced(name) }
    end

    # Without secrets, and without a value that requires a missing environment variable.
    def inspect
      shown = { public_url: @settings[:public_url], namespace: namespace, secret: @settings[:secret],
                redis: @settings[:redis], url: @settings[:url] }.compact
      shown.transform_values! { |value| shown_value(value) }
      "#<#{self.class} #{shown.map { |key, value| "#{key}: #{value}" }.join(', ')}>"
    end

    # `pp` and debuggers would show the instance variables.
    def pretty_print(printer)
      printer.text(inspect)
    end

    # @api private
    # @return [Hash] `default` and `prefixes`: how much history each room keeps
    def history
      fetch(:history)
    end

    # @api private
    # @return [Hash, nil] what mailboxes store; see {Mailbox}. `nil`: the namespace has none
    def mailbox = fetch(:mailbox)

    # @api private
    # @return [Boolean] whether any room has a history
    def history? = !history[:default].nil? || history[:prefixes].any?(&:last)

    # @api private
    # @return [Boolean] whether each room has its own channel in Redis
    def channel_per_room? = fetch(:channel_per_room)

    # @api private
    # @return [TokenRules, nil] nil if `token` is not configured
    def token = fetch(:token)

    # @api private
    # @return [String, nil] the secret that signs hooks; nil if they are not configured
    def hooks_secret = fetch(:hooks_secret)

    # @api private
    # @return [Pages::Cookie, nil] the cookie that says which pages belong to a visitor; nil if the namespace has no
    #   `pages`
    def pages = fetch(:pages)

    # @api private
    # @return [Pages::Calls, nil] what the server signs requests to the application with; nil without `calls`
    def calls = fetch(:calls)

    # @api private
    # @return [Array<String>] what the server serves in the namespace
    def protocols = fetch(:protocols)

    # @api private
    # @return [String] the path of the WebSocket of Action Cable
    def cable_path = fetch(:cable_path)

    # @api private
    # @return [KeyRules]
    def key_rules = fetch(:key_rules)

    # @api private
    # @return [Integer] the server's limit for one publication in bytes
    def max_publish_size = fetch(:max_publish_size)

    # @api private
    # @return [Integer] the server's limit for the name of a room in bytes
    def max_room_name
      fetch(:max_room_name)
    end

    # @api private
    # @return [Hash] the address and credentials of Redis for the native publisher
    # @raise [ConfigurationError]
    def redis_target
      fetch(:redis_target)
    end

    # @api private
    # @return [String, nil] what programs with the same secret have in common; nil if the secret is not set yet
    def fingerprint
      secret ? Native.fingerprint(secret) : "open"
    rescue ConfigurationError
      nil
    end

    private

    def shown_value(value)
      return "…" if value.is_a?(Redacted)

      value.is_a?(ConfigurationError) ? "missing" : value
    end

    def read_redis_target
      section = Redis.section(@values) or return
      unknown = Redis.unknown(section) - ["alone"]
      unless unknown.empty?
        shown = unknown.map { |key| Tree.shown_key(key) }.join(", ")
        Logger.log(:warn, "#{@values.key_path('redis')}: unknown #{shown}; nothing reads it")
      end
      node = @values.node("redis")
      Redis.target(section, folder, lambda do |key, problem|
        place = key && node.value.is_a?(Hash) ? node.value[key[/\A\w+/]] || node : node
        @document.invalid!(place, [@values.key_path("redis"), key].compact.join("."), problem)
      end)
    end

    # The folder of relative paths.
    def folder
      @document.path ? File.dirname(@document.path) : Dir.pwd
    end

    def read
      settings = read_settings
      settings[:url] = setting("url", "public_url", "host") { @values.url(unwrap(settings[:public_url])) }
      SECRETS.each { |key| settings[key] = Redacted.new(settings[key]) unless settings[key].nil? }
      settings.merge(read_limits).freeze
    end

    def read_settings
      {
        public_url: setting("public_url", "host") { @values.public_url || PUBLIC_URL },
        **read_secrets,
        redis: setting("redis") { Redis.section(@values)&.reject { |key, _| key == "alone" } },
        redis_target: setting("redis") { read_redis_target },
        over_http: setting("url") { @values.url? },
        history: setting("history") { History.read(@values) },
        mailbox: setting("mailbox", "limits") { Mailbox.read(@values) },
        token: setting("token") { TokenRules.read(@values, folder) },
        **Protocols.read(@values),
        key_rules: setting("bound_keys", "max_key_lifetime") { KeyRules.read(@values) },
        **read_application,
        channel_per_room: setting("channel_per_room") { @values.flag("channel_per_room") },
        publisher: setting("publisher") { PublisherLimits.read(@values) }
      }
    end

    def read_secrets
      { secret: setting("secret", "secret_file", "secrets") { Secrets.secret(@values, folder) },
        publish_key: setting("publish_key", "publish_key_file") { Secrets.publish_key(@values, folder) },
        hooks_secret: setting("hooks") { Secrets.hooks(@values, folder) },
        pages: setting("pages") { Pages.cookie(@values, folder) },
        calls: setting("calls") { Pages.calls(@values, folder) } }
    end

    # The value, or the error to raise when the setting is used.
    def setting(*keys)
      yield
    rescue ConfigurationError => e
      keys.any? { |key| @values.variable?(key) } ? e : raise
    end

    def fetch(name)
      unwrap(@settings.fetch(name))
    end

    def unwrap(value)
      value = value.reveal if value.is_a?(Redacted)
      value.is_a?(ConfigurationError) ? raise(ConfigurationError, value.message) : value
    end

    def read_limits
      limit = ->(key, max) { setting("limits") { @values.size("limits.#{key}", @values.mapping("limits")[key], max) } }
      size = limit.call("max_publish_size", MAX_PUBLISH_SIZE)
      name = limit.call("max_room_name", Room::MAX_BYTES)
      { max_publish_size: size, max_room_name: name.is_a?(Integer) ? [name, Room::MAX_BYTES].min : name }
    end
  end
end
