# frozen_string_literal: true

require "ipaddr"
require "socket"
require "nodevent/key_request"

module NoDevent
  # The server's console in the application, at `/console` below the place where {Server} is mounted. It is there in the
  # development environment of Rails, and for browsers on this machine only. The application signs the keys of rooms for
  # it, and emits for it, so it needs neither the secret nor a publish key.
  #
  # What another page, or another machine, could try:
  # - a name of its own that DNS resolves to this machine: the request has to name this machine;
  # - a POST from a page of another site, or of another port: its origin has to be that of the request;
  # - a frame: the page's Content-Security-Policy forbids it;
  # - a proxy on this machine: its headers show it, or its Unix socket does.
  # @api private
  module Console
    # The page, and its files.
    PAGE = "/console"
    # What the page shows of the server.
    STATE = "/console.json"
    # Where the page requests keys.
    KEY = "/console/key"
    # Where the page sends events.
    EMIT = "/console/emit"
    FILES = [PAGE, "/console.js", "/console.css", STATE].freeze
    PATHS = [*FILES, KEY, EMIT].freeze

    # The names of this machine, as the server has them.
    HOST = /\A(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?\z/i
    # Headers by which a proxy shows that a request is not its own, as the server has them.
    FORWARDING = /\AHTTP_(?:X_FORWARDED_\w+|(?:X_ORIGINAL_)?FORWARDED(?:_FOR)?|CDN_LOOP|CF_CONNECTING_IP|
                  FASTLY_CLIENT_IP|TRUE_CLIENT_IP|VIA|X_(?:CLIENT|CLUSTER_CLIENT|PROXYUSER|REAL)_IP)\z/x
    # The most events of one request.
    MAX_EVENTS = 1000
    # How long a key is valid.
    #
    # # Units
    # Seconds.
    LIFETIME = 600
    NOT_HERE = "the console is for pages of this machine only"
    NOT_HERE_HINT = "open it as http://localhost with the application's port, without a proxy"

    private_constant :HOST, :FORWARDING, :MAX_EVENTS, :LIFETIME, :NOT_HERE, :NOT_HERE_HINT

    class << self
      include KeyRequest

      # @param path [String] below the place where the server is mounted
      # @return [Boolean] whether it is a path of the console, and there is a console
      def serves?(path)
        PATHS.include?(path) && on?
      end

      # @return [Boolean] whether there is a console in this environment
      def on?
        defined?(Rails.env) && Rails.env.development? && Configuration::Document.environment == "development" &&
          !Emitter.config.console_off?
      end

      # @param env [Hash] Rack's
      # @param path [String] see {serves?}
      # @yieldreturn [Array] Rack's response of the server
      # @return [Array] Rack's response
      def call(env, path, &server)
        granted_here(env) do
          case path
          when KEY then granted { { key: key(env) } }
          when EMIT then granted { emit(env) }
          when STATE then with_application(server.call)
          else server.call
          end
        end
      end

      # @param origin [String, nil] the address of the application for browsers
      # @return [String, nil] the address of the console
      def url(origin = nil)
        return unless on? && Server.active? && !Server.at.empty?

        "#{origin || "http://localhost:#{ENV.fetch('PORT', 3000)}"}#{Server.base(Emitter.config)}#{PAGE}"
      end

      private

      def granted_here(env)
        here?(env) ? yield : respond(403, error: NOT_HERE, hint: NOT_HERE_HINT)
      end

      # Whether a browser on this machine sent the request, to this machine, and no proxy did.
      def here?(env)
        loopback?(env["REMOTE_ADDR"]) && env["HTTP_HOST"].to_s.match?(HOST) && !env["puma.socket"].is_a?(UNIXSocket) &&
          env.each_key.none? { |name| name.to_s.match?(FORWARDING) }
      end

      def loopback?(address)
        IPAddr.new(address.to_s).native.loopback?
      rescue IPAddr::Error
        false
      end

      def key(env)
        request = own_request(env)
        namespace = namespace(request)
        lifetime = [LIFETIME, namespace.config.key_rules.max_lifetime].compact.min
        namespace.room_key(room(request), Time.now + lifetime)
      rescue ConfigurationError => e
        reject(409, e.message, "correct the configuration")
      end

      def emit(env)
        request = own_request(env)
        namespace = namespace(request)
        events = events(request, namespace.config.max_publish_size)
        events.each.with_index(1) do |event, number|
          options = number == events.size ? { wait: true } : {}
          namespace.emit(event["room"], event["event"], event["message"], **options)
        end
        { accepted: events.size }
      rescue Error => e
        reject(422, e.message, "see the log of the application")
      end

      def events(request, max_bytes)
        events = json(request, max_bytes)
        events = [events] unless events.is_a?(Array)
        texts = ->(event) { event.is_a?(Hash) && event.values_at("room", "event").all?(String) }
        unless events.any? && events.all?(&texts)
          reject(400, "no event", "send {\"room\": \"…\", \"event\": \"…\", \"message\": …}")
        end
        return events if events.size <= MAX_EVENTS

        reject(413, "there are more than #{MAX_EVENTS} events", "send fewer at a time")
      rescue JSON::ParserError
        reject(400, "the request is not JSON", "send {\"room\": \"…\", \"event\": \"…\", \"message\": …}")
      end

      # A request of the console's page. Browsers send the origin with every POST, and a page of another origin cannot
      # send JSON without asking before.
      def own_request(env)
        request = RackRequest.of(env)
        reject(405, "method not allowed", "use POST") unless request.post?
        own = "#{request.scheme}://#{env['HTTP_HOST']}"
        site = env["HTTP_SEC_FETCH_SITE"]
        unless own.casecmp?(env["HTTP_ORIGIN"].to_s) && [nil, "same-origin"].include?(site)
          reject(403, "the request is not from the console's page", "open the console, and use it there")
        end
        return request if env["CONTENT_TYPE"].to_s.match?(%r{\Aapplication/json\s*(?:;|\z)}i)

        reject(415, "the request is not JSON", "send it with `content-type: application/json`")
      end

      # The page learns that it does not need to ask its user for keys.
      def with_application(response)
        status, headers, body = response
        return response unless status == 200

        text = +"".b
        body.each { |part| text << part }
        state = JSON.generate(JSON.parse(text).merge(application: true))
        [status, headers.merge("content-length" => state.bytesize.to_s), [state]]
      end
    end
  end
end
