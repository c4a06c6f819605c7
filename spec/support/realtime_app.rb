# frozen_string_literal: true

require "tempfile"
require "yaml"

# A Rack application with `NoDevent::Realtime` under Puma, and its server.
class RealtimeApp
  SECRET = "a-secret-for-pages-of-more-than-16-bytes"
  CALLS_SECRET = "a-secret-for-calls-of-more-than-16-bytes"
  PUBLISH_KEY = "a-publish-key-0123456789"

  RACKUP = <<~'RUBY'
    require "json"
    require "rack/session/cookie"
    require "nodevent"

    if ENV["REALTIME_REDIS"]
      NoDevent::Realtime.configure { |realtime| realtime.redis = { url: ENV["REALTIME_REDIS"] } }
    end
    NoDevent::Realtime.settings.enabled = false if ENV["REALTIME_DISABLED"]

    NoDevent::Realtime.handler(:add) do |message, session, response|
      session["added"] = message["a"] + message["b"]
      response.merge(status: 200, headers: {}, body: session["added"])
    end
    NoDevent::Realtime.handler(:name) { |_, session, response| response[:body] = session["name"] }
    NoDevent::Realtime.handler(:fail) { raise "the handler's own text" }
    NoDevent::Realtime.on(:join) { socket.push(["join", session["name"], request.socket?, socket.digest], :presence) }
    NoDevent::Realtime.on(:leave) { socket.push(["leave", session["name"], request.socket?, socket.digest], :presence) }

    # The routes, each with a request, its session and its socket.
    class Application
      PAGE = "<!doctype html><html><head><script>'<body>'</script></head><body class=\"a\">Hello</body></html>"

      def call(env)
        request = Rack::Request.new(env)
        socket = NoDevent::Realtime.socket(env)
        route(request, socket, request.params)
      end

      private

      def route(request, socket, params)
        names = params["channels"].to_s.split(",")
        case request.path_info
        when "/" then html(200, PAGE)
        when "/page" then socket.subscribe(names) && html(200, PAGE)
        when "/name" then request.session["name"] = params["name"]; text(200, "named")
        when "/subscribe" then text(200, socket.subscribe(names))
        when "/unsubscribe" then text(200, socket.unsubscribe(names))
        when "/push" then text(200, socket.push(JSON.parse(params["message"]), *names))
        when "/direct"
          text(200, socket.push_message_to_socket_with_key(params["message"], names.first, params["digest"]))
        when "/digest" then text(200, socket.digest)
        when "/echo" then echo(request, params)
        when "/visitor" then socket.subscribe(socket.visitor) && html(200, PAGE.sub("Hello", socket.visitor))
        when "/without" then text(200, without_channels(socket).join(","))
        when "/symbols" then text(200, socket.subscribe(:both, "both", [:both, ["both"]]) && socket.push(params["message"], "both", :both))
        when "/streamed" then [200, { "Content-Type" => "text/html" }, Enumerator.new { |parts| parts << "<html><body>" << "streamed" }]
        when "/empty" then html(200, "")
        when "/parts" then html(202, part(request))
        when "/redirect" then [302, { "Location" => "/page", "Content-Type" => "text/plain" }, ["elsewhere"]]
        when "/broken" then raise "broken"
        when "/large" then text(200, "x" * (1024 * 1024))
        else html(404, "<html><body>nothing here</body></html>")
        end
      end

      # What the three methods raise without a channel.
      def without_channels(socket)
        [-> { socket.subscribe }, -> { socket.unsubscribe([]) }, -> { socket.push("text") }].map do |call|
          call.call
        rescue StandardError => e
          e.class
        end
      end

      PARTS = { "list" => "<ul><li>one</li></ul>", "row" => "<li>one</li>" }.freeze

      # A container before a partial, as in pakyow, and the page if neither is wanted.
      def part(request)
        name = request.socket_container || request.socket_partial
        name ? PARTS.fetch(name, "<p>no such part</p>") : PAGE
      end

      def echo(request, params)
        body = { "method" => request.request_method, "name" => request.session["name"], "params" => params,
                 "query" => request.query_string, "socket" => request.socket? }
        [201, { "Content-Type" => "application/json", "X-Custom" => "kept" }, [JSON.generate(body)]]
      end

      def text(status, text)
        [status, { "Content-Type" => "text/plain" }, [text.inspect.delete('"')]]
      end

      def html(status, text)
        [status, { "Content-Type" => "text/html; charset=utf-8" }, [text]]
      end
    end

    # What a production server does with an error: a page without details.
    class Errors
      def initialize(app) = @app = app

      def call(env)
        @app.call(env)
      rescue RuntimeError => e
        [500, { "Content-Type" => "text/plain" }, [e.message == "broken" ? "sorry" : "error"]]
      end
    end

    use Errors
    use Rack::Session::Cookie, secret: "x" * 64
    use NoDevent::Realtime
    run Application.new
  RUBY

  attr_reader :application, :servers

  # @param settings [Hash] more settings of the namespace
  # @param servers [Integer] how many servers there are
  # @param top [Hash] more settings of the servers
  # @param application [Hash] settings of the namespace that only the application has
  def initialize(settings = {}, servers: 1, top: {}, application: {}, env: {})
    port = Ports.free
    @namespace = {
      "protocol" => "pakyow", "publish_key" => PUBLISH_KEY, "pages" => { "secret" => SECRET },
      "calls" => { "url" => "http://127.0.0.1:#{port}", "secret" => CALLS_SECRET, "handlers" => "/nodevent/realtime",
                   "notify" => %w[join leave] }
    }.merge(settings)
    @servers = Array.new(servers) { NodeventServer.new({ "/live" => @namespace }.merge(top)) }
    @application = start(port, @servers.first, application, env)
  end

  # Another process of the application, which sends its requests to another server.
  def another(server, settings = {}, env = {})
    start(Ports.free, server, settings, env).tap { |process| (@others ||= []) << process }
  end

  def server
    servers.first
  end

  def visitor
    Visitor.new(application, server)
  end

  def stop
    [*@others, application, *servers].compact.each(&:stop)
  end

  private

  def start(port, server, settings, env)
    file = Tempfile.new(["nodevent", ".yml"])
    file.write(YAML.dump("url" => server.url, "/live" => @namespace.merge(settings)))
    file.close
    (@files ||= []) << file
    PumaServer.new(RACKUP, port: port, env: { "NODEVENT_CONFIG" => file.path }.merge(env))
  rescue StandardError
    servers.each(&:stop)
    raise
  end
end
