# frozen_string_literal: true

require "nodevent/realtime/channels"
require "nodevent/realtime/settings"
require "nodevent/realtime/signed_request"
require "nodevent/realtime/identity"
require "nodevent/realtime/key_cookie"
require "nodevent/realtime/page_response"
require "nodevent/realtime/delivery"
require "nodevent/realtime/socket"
require "nodevent/realtime/handlers"
require "nodevent/realtime/endpoint"
require "nodevent/realtime/request"
require "nodevent/realtime/visitor"
require "nodevent/realtime/controller"

module NoDevent
  # Subscribes the visitor's page to channels while the application renders it, as pakyow-realtime does, and lets pages
  # call routes of the application over their socket. Rack middleware, which belongs after that of the session. See
  # docs/from-pakyow-realtime.md.
  #
  # @example config.ru
  #   require "rack/session/cookie"
  #   use Rack::Session::Cookie, secret: ENV.fetch("SESSION_SECRET")
  #   use NoDevent::Realtime
  #   run ->(env) do
  #     NoDevent::Realtime.socket(env).subscribe(:chat)
  #     [200, { "content-type" => "text/html" }, ["<body>…</body>"]]
  #   end
  # @example config/application.rb of Rails
  #   config.nodevent.realtime = true
  class Realtime
    # Where the socket of a request is in Rack's environment.
    SOCKET = "nodevent.socket"
    IDENTITY = "nodevent.identity"

    private_constant :IDENTITY

    class << self
      # Changes the settings.
      # @example
      #   NoDevent::Realtime.configure do |realtime|
      #     realtime.redis = { url: ENV.fetch("REDIS_URL") }
      #     realtime.enabled = !Rails.env.test?
      #   end
      # @yieldparam realtime [Settings]
      # @return [Settings]
      # @raise [ArgumentError] without a block
      def configure
        raise ArgumentError, "NoDevent::Realtime.configure needs a block" unless block_given?

        yield settings
        settings
      end

      # @return [Settings]
      def settings
        @settings ||= Settings.new
      end

      # @return [Boolean] whether `realtime.enabled` is set
      def enabled?
        settings.enabled ? true : false
      end

      # @param env [Hash] Rack's
      # @return [Socket] the visitor's page in this request
      # @raise [ConfigurationError] without the middleware
      def socket(env)
        env[SOCKET] or raise ConfigurationError, "no socket; write `use NoDevent::Realtime` after the middleware of " \
                                                 "the session, or in Rails `config.nodevent.realtime = true`"
      end

      # Pushes a message to all pages that have subscribed to one of the channels. A page receives one frame for each of
      # its channels. Returns at once; with a pattern, when the server has published it.
      # @example
      #   NoDevent::Realtime.push({ text: "Hello" }, :chat)
      #   NoDevent::Realtime.push("closed for lunch", "shop:*", :news)
      # @param message [#to_json]
      # @param channels [Array<String, Symbol, Base>] names, in which `*` matches any text, in 8 of them at most, and
      #   records, whose channels have the names of their rooms
      # @return [true, false, nil] `false` if something was not queued; see {Emitter.emit}. `nil` if silenced, or
      #   `realtime.enabled` is false
      # @raise [ArgumentError] without a channel, or if one is not a name
      # @raise [EncodingError, MessageTooLargeError] see {Emitter.emit}
      # @raise [ServerError] if there is a pattern, and the server does not publish it
      # @raise [ConfigurationError]
      def push(message, *channels)
        names = Channels.names(channels, "push")
        Delivery.push(message, names) if enabled?
      end

      # Pushes a message to one page.
      # @example
      #   NoDevent::Realtime.push_message_to_socket_with_key({ done: 12 }, :progress, import.page_digest)
      # @param message [#to_json]
      # @param channel [String, Symbol] the channel that the frame names. The page need not have subscribed to it
      # @param digest [String] see {Socket#digest}
      # @return see {push}
      # @raise [ArgumentError] if the channel is not a name, or the digest not a digest
      # @raise see {push}
      def push_message_to_socket_with_key(message, channel, digest)
        name = Channels.literal([channel], "push").first
        raise ArgumentError, "a digest has 40 hexadecimal digits; see socket.digest" unless digest?(digest)

        Delivery.push_to_page(message, name, digest) if enabled?
      end

      # Handles messages that pages send over their socket: `{"id": 1, "action": "name", …}`. Needs `calls: handlers` in
      # the configuration.
      # @example
      #   NoDevent::Realtime.handler(:add) do |message, session, response|
      #     response[:status] = 200
      #     response[:body] = message["a"] + message["b"]
      #     response
      #   end
      # @param name [String, Symbol] the action
      # @yieldparam message [Hash{String => Object}] the whole message
      # @yieldparam session [#[]] the visitor's session
      # @yieldparam response [Hash] the reply, with the id of the message
      # @yieldreturn [Hash] the reply
      # @return [Proc] the block
      # @raise [ArgumentError] without a block, or for a name that the server handles itself
      def handler(name, &block)
        Handlers.add(name, block)
        block
      end

      # Runs a block when a page has connected, or is gone: `socket`, `request` and `session` in it are those of the
      # page. Needs `calls: handlers` and `notify` in the configuration.
      # @example
      #   NoDevent::Realtime.on(:join) { socket.push({ name: session[:name] }, :lobby) }
      # @param event [Symbol] `:join` or `:leave`
      # @return [Proc] the block
      # @raise [ArgumentError] for another event, or without a block
      def on(event, &block)
        Handlers.add_hook(event, block)
        block
      end

      # Removes all handlers and hooks, and returns to the default settings, for tests and for code that is reloaded.
      # @return [void]
      def reset!
        Handlers.clear
        @settings = nil
      end

      private

      def digest?(text)
        text.is_a?(String) && text.match?(/\A[0-9a-f]{40}\z/)
      end
    end

    # @param app [#call] the application
    def initialize(app)
      require "rack"
      Rack::Request.include(Request) unless Rack::Request.include?(Request)
      @app = app
    end

    # @param env [Hash] Rack's
    # @return [Array] the response of the application; an HTML page has the id in its body tag
    # @raise [ConfigurationError] if a page is rendered without a session, or without `pages` in the configuration
    def call(env)
      identity = env[IDENTITY] ||= Identity.new(env)
      env[SOCKET] ||= Socket.new(identity)
      return @app.call(env) unless self.class.enabled?

      return Endpoint.call(env) if SignedRequest.verify(env) && SignedRequest.for_handlers?(env)

      config = self.class.settings.config_of_pages
      config ? respond(env, identity, config, @app.call(env)) : @app.call(env)
    end

    private

    def respond(env, identity, config, response)
      page = PageResponse.new(env, response)
      response = page.with_id { identity.connection_id }
      config.pages ? mirror(env, identity, config, page, response) : response
    end

    # A page has the cookie of its session. Any other response ends that of a session which is over.
    def mirror(env, identity, config, page, response)
      cookie = KeyCookie.new(config.pages, config.namespace, env)
      key = page.identified? ? identity.key : identity.loaded_key
      return response if key.nil? || (!page.identified? && !cookie.sent?) || cookie.current?(key)

      status, headers, body = response
      # A cache would give the cookie to others. The next page has it.
      return response if !page.identified? && shared?(headers)

      headers = headers.dup
      key.empty? ? cookie.delete(headers) : cookie.write(headers, key)
      [status, headers, body]
    end

    def shared?(headers)
      headers.any? { |name, value| name.casecmp?("cache-control") && value.to_s.match?(/\b(?:public|s-maxage)\b/i) }
    end
  end
end
