# frozen_string_literal: true

require "ipaddr"
require "json"
require "socket"
require "nodevent/handover"
require "nodevent/handover/request_head"
require "nodevent/handover/response"
require "nodevent/handover/visitor"
require "nodevent/rack_request"

module NoDevent
  # The server's paths in the application, so that pages need no second address. Sockets on which the server waits, such
  # as WebSockets, are handed over to it (`rack.hijack`), and this process keeps nothing of them. Other requests are
  # passed on through the same Unix socket.
  #
  # @example config/routes.rb
  #   mount NoDevent::Server => "/nodevent"
  # @example for clients that know `/socket.io/` and `/cable` only
  #   config.middleware.use NoDevent::Server
  class Server
    # The largest body of a request.
    #
    # # Units
    # Bytes.
    MAX_BODY = 16 * 1024 * 1024
    # The response on a socket that was hijacked and not taken over.
    RAW_UNAVAILABLE = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n" \
                      "content-length: 0\r\n\r\n"

    UNSUPPORTED = "this web server cannot give a socket away: it ends TLS itself, or has no `rack.hijack`"
    # The time between two log lines about connections that the server rejects.
    #
    # # Units
    # Seconds.
    LOG_INTERVAL = 10
    # The beginning of the paths of Socket.IO.
    SOCKET_IO = "/socket.io/"
    RequestHead = Handover::RequestHead

    private_constant :SOCKET_IO, :MAX_BODY, :RAW_UNAVAILABLE, :UNSUPPORTED, :LOG_INTERVAL, :RequestHead

    class << self
      # Where it is mounted. Found in the routes of Rails; elsewhere the application sets it, for the view helpers.
      # @return [String, nil] a path without a slash at its end, such as `/nodevent`; empty for a middleware
      def at
        return @at if defined?(@at)

        # Its routes are not complete yet.
        @at = route unless rails&.initialized? == false
      end

      # Says where it is mounted, outside of Rails.
      # @return [String, nil]
      attr_writer :at

      # @api private
      def forget
        remove_instance_variable(:@at) if defined?(@at) && !@middleware
      end

      # @api private
      # @return [Boolean] whether pages reach the server through the application
      def active?
        !at.nil? && !Handover.path.nil?
      end

      # @api private
      # @return [String] the beginning of the server's addresses for pages
      def base(config)
        active? ? "#{relative_root}#{at}" : config.public_url
      end

      # @param env [Hash] Rack's
      # @return [Array] Rack's response
      def call(env)
        (@endpoint ||= new).call(env)
      end

      # @api private
      def middleware!
        @middleware = true
        @at = ""
      end

      private

      def relative_root
        rails&.config&.relative_url_root
      end

      def rails
        Rails.application if defined?(Rails.application)
      end

      # The path of the route that mounts it, if it has no parameters.
      def route
        application = rails or return
        application.reload_routes_unless_loaded if application.respond_to?(:reload_routes_unless_loaded)
        found = application.routes.routes.find { |one| one.app.respond_to?(:app) && equal?(one.app.app) } or return

        path = found.path.spec.to_s.chomp("/")
        path unless path.match?(/[:*(]/)
      end
    end

    # @param app [#call, nil] the application that responds to other paths
    def initialize(app = nil)
      @app = app
      self.class.middleware! if app
    end

    # @param env [Hash] Rack's
    # @return [Array] Rack's response
    def call(env)
      path = RequestHead.path(env).sub(%r{\A/socket\.io\z}, "/socket.io/")
      # As a middleware, this has no folder of its own.
      return Console.call(env, path) { exchange(env, path) } if @app.nil? && Console.serves?(path)
      return pass(env) unless paths.include?(path)

      waits?(env, path) || (large?(env, path) && hijack?(env)) ? hand_over(env, path) : exchange(env, path)
    rescue RequestHead::Malformed => e
      respond(400, e.message, "send a request as browsers do")
    rescue Handover::Unavailable
      respond(503, "the server is unavailable", "it starts again soon; see the log", "retry-after" => "1")
    rescue Handover::Rejected => e
      log_rejected(e)
      respond(503, "the server did not take the connection over", "see the log", "retry-after" => "1")
    end

    private

    # Another route may match.
    def pass(env)
      return @app.call(env) if @app

      cascade = defined?(Rack::RELEASE) && Rack::RELEASE < "3" ? "X-Cascade" : "x-cascade"
      [404, { cascade => "pass", "content-type" => "text/plain" }, ["Not Found"]]
    end

    def paths
      config = Emitter.config
      return @paths if @paths&.config.equal?(config)

      @paths = Paths.new(config)
    end

    # Whether the response may take as long as the client stays: a WebSocket, a poll, a stream of events.
    def waits?(env, path)
      return false unless env["REQUEST_METHOD"] == "GET"

      RequestHead.upgrade?(env) || env["HTTP_ACCEPT"].to_s.include?("text/event-stream") || path.end_with?("/events") ||
        (path.start_with?(SOCKET_IO) && !opens?(env, path))
    end

    # Whether the response may be large, or wait for its turn, so that clients that read slowly would hold threads.
    def large?(env, path)
      env["REQUEST_METHOD"] == "GET" && path.match?(%r{\A/api/.*/(?:rooms|users)/})
    end

    # Whether the request begins a connection. The others of Socket.IO name it, by the last parameter of this name.
    # Elsewhere the parameter means something else.
    def opens?(env, path)
      !path.start_with?(SOCKET_IO) || env["QUERY_STRING"].to_s[/\A(?:.*&)?sid=([^&]*)/, 1].to_s.empty?
    end

    def details(env, path)
      identities = opens?(env, path) ? Handover::Visitor.identities(env) : {}
      { client: address(env), identities: identities }.compact
    end

    # @return [String, nil] the peer of the web server, as an IP address
    def address(env)
      IPAddr.new(env["REMOTE_ADDR"].to_s).to_s
    rescue IPAddr::Error
      nil
    end

    # The server may reject many for one reason.
    def log_rejected(error)
      now = Handover.now
      return if @logged_at && now - @logged_at < LOG_INTERVAL

      @logged_at = now
      Logger.log(:warn, "the server did not take a connection over: #{error.message}")
    end

    # Gives the socket to the server.
    def hand_over(env, path)
      return unsupported unless hijack?(env)

      details = details(env, path)
      head = RequestHead.of_connection(env, path)
      Handover.open do |link|
        read = "#{head.b}#{read_ahead(env)}"
        io = env["rack.hijack"].call || env["rack.hijack_io"]
        give_away(link, io, details, read)
      end
      # Web servers ignore the response after the socket was given away. Middlewares may change it.
      [-1, {}, []]
    end

    # Closes this process's copy of the descriptor, in any case. The socket is open as long as the server has it.
    def give_away(link, io, details, read)
      socket = io.to_io
      raise Handover::Rejected, UNSUPPORTED unless socket.is_a?(BasicSocket)

      link.send_socket(socket, details, read)
    rescue Handover::Unavailable, Handover::Rejected
      refuse(io)
      raise
    ensure
      io.close
    end

    # Responds on the socket, because nothing else does after it was hijacked.
    def refuse(io)
      io.write(RAW_UNAVAILABLE)
    rescue SystemCallError, IOError
      nil
    end

    # What the web server has read after the head. Puma has no method for it. Clients wait for the response to a
    # handshake, so there usually is nothing.
    def read_ahead(env)
      client = puma_client(env["rack.hijack"])
      read = client&.instance_variable_get(:@buffer)
      read.is_a?(String) ? read.b : ""
    end

    # Its `rack.hijack` is the client itself, or a method of it, or in Puma 8 such a method as a Proc.
    def puma_client(hijack)
      return unless defined?(::Puma::Client)

      owner = hijack.respond_to?(:receiver) ? hijack.receiver : hijack
      owner = owner.binding.receiver if owner.is_a?(Proc)
      owner if owner.is_a?(::Puma::Client)
    rescue ArgumentError # a Proc without a binding
      nil
    end

    # Whether the socket can be given away. With TLS, its other half is in this process.
    def hijack?(env)
      socket = env["puma.socket"]
      env["rack.hijack"].respond_to?(:call) && (socket.nil? || socket.is_a?(BasicSocket))
    end

    def unsupported
      unless @warned
        @warned = true
        Logger.log(:error, "#{UNSUPPORTED}; let a proxy end TLS, or let pages connect to the server's own address " \
                           "(docs/one-port.md)")
      end
      respond(501, UNSUPPORTED, "let a proxy end TLS, or let pages connect to the server's own address")
    end

    # Sends one request to the server, through a pair of sockets of which it gets one.
    def exchange(env, path)
      length = env["CONTENT_LENGTH"].to_i
      return respond(413, "the request is too large", "send at most 16 MB") if length > MAX_BODY

      head = RequestHead.of_request(env, path, length)
      details = details(env, path)
      ours, theirs = UNIXSocket.pair
      Handover.open { |link| link.send_socket(theirs, details, head) }
      theirs.close
      response = Handover::Response.new(ours)
      response.send_body(RackInput.of(env), length) if length.positive?
      response.bodiless if env["REQUEST_METHOD"] == "HEAD"
      response.to_rack.tap { ours = nil }
    ensure
      [ours, theirs].compact.each(&:close)
    end

    def respond(status, error, hint, headers = {})
      headers = { "content-type" => "application/json", "cache-control" => "no-store" }.merge(headers)
      [status, headers, [JSON.generate(error: error, hint: hint)]]
    end

    # The paths that the server serves, below the place where this is mounted.
    class Paths
      # @return [Configuration]
      attr_reader :config

      def initialize(config)
        @config = config
        namespaces = config.namespaces
        @exact = ["/api/nodevent.js.map"]
        @exact += namespaces.select { |one| one.protocols.include?("action_cable") }.map(&:cable_path)
        names = namespaces.map(&:namespace)
        roots = names.flat_map { |name| ["/api#{name}", "/api/#{name.delete_prefix('/').gsub('/', '%2F')}"] }.uniq
        plain = namespaces.select { |one| one.protocols.include?("plain") }.map { |one| "/ws#{one.namespace}" }
        @exact += roots + plain
        @beginnings = ["/socket.io/", *roots.map { |root| "#{root}/" }]
      end

      # @param path [String]
      def include?(path)
        @exact.include?(path) || path.start_with?(*@beginnings)
      end
    end
    private_constant :Paths
  end
end
