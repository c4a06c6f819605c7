# frozen_string_literal: true

# The same in Rails: pages, streams, and the protection from forgery.
RSpec.describe "Pages of visitors in Rails" do
  include RailsApp

  config = <<~YAML
    /live:
      pages: { secret: 0123456789abcdef0123456789abcdef }
      calls: { url: "http://127.0.0.1:3000", secret: fedcba9876543210fedcba9876543210, handlers: /nodevent/realtime }
  YAML

  # A browser with cookies, and the server, which signs.
  setup = <<~'RUBY'
    require "nodevent/testing"
    class SomeModel < ActiveRecord::Base; include NoDevent::Base; end
    JAR = {}
    def visit(method, path, **env)
      cookies = JAR.map { |pair| pair.join("=") }.join("; ")
      options = { method: method, "HTTP_COOKIE" => cookies, "REQUEST_URI" => path, "HTTP_HOST" => "localhost" }.merge(env.transform_keys { |key| %i[params input].include?(key) ? key : key.to_s })
      status, headers, body = App.call(Rack::MockRequest.env_for(path, options))
      Array(headers["Set-Cookie"]).join("\n").each_line { |line| JAR.store(*line[/\A[^;]+/].split("=", 2)) }
      text = +""
      body.each { |part| text << part }
      body.close if body.respond_to?(:close)
      [status, headers, text]
    end
    def sign(method, path, body = "", connection = "b" * 64)
      cookies = JAR.map { |pair| pair.join("=") }.join("; ")
      signature = NoDevent::Realtime::SignedRequest.sign("fedcba9876543210fedcba9876543210", Time.now.to_i, ["/live", method, path, connection, cookies, body])
      { HTTP_X_NODEVENT_SIGNATURE: signature, HTTP_X_NODEVENT_CONNECTION: connection, HTTP_X_NODEVENT_NAMESPACE: "/live" }
    end
  RUBY

  define_method(:run) do |script|
    rails(setup + script, files: { "config/nodevent.yml" => config }, settings: "config.nodevent.realtime = true")
  end

  it "writes ids into pages, and passes streams: P-01, P-02, P-03" do
    out = run(<<~'RUBY')
      class PagesController < ActionController::Base
        def show = render(inline: "<html><script>'<body>'</script><body>Hello</body></html>")
        def cached = fresh_when(etag: "one") || show
        def stream = self.response_body = Enumerator.new { |parts| parts << "<html><body>" << "Hello" }
        def json = render(json: { a: "<body>" })
        def missing = raise(ActiveRecord::RecordNotFound)
      end
      class LiveController < ActionController::Base
        include ActionController::Live
        def show
          response.headers["Content-Type"] = "text/html"
          response.headers["Last-Modified"] = Time.now.httpdate
          response.stream.write("<html><body>")
          response.stream.write("Hello")
        ensure
          response.stream.close
        end
      end
      App.routes.draw do
        %w[show cached stream json missing].each { |name| get "/#{name}", to: "pages##{name}" }
        get "/live", to: "live#show"
      end
      attribute = / data-socket-connection-id="\h{64}"/
      status, headers, text = visit("GET", "/show")
      p status, text[attribute] && text.sub(attribute, ""), headers["Cache-Control"], JAR.key?("nodevent_page")
      length = headers["Content-Length"]
      p length.nil? || length.to_i == text.bytesize
      p visit("GET", "/show").last == text
      status, headers, text = visit("GET", "/cached")
      p status, text.match?(attribute), headers["Cache-Control"], headers.key?("Last-Modified")
      %w[stream json live].each { |name| p visit("GET", "/#{name}").last }
    RUBY
    expect(out).to eq(<<~TEXT)
      200
      "<html><script>'<body>'</script><body>Hello</body></html>"
      "private, no-store"
      true
      true
      false
      200
      true
      "private, no-store"
      false
      "<html><body>Hello"
      "{\\"a\\":\\"\\\\u003cbody\\\\u003e\\"}"
      "<html><body>Hello"
    TEXT
  end

  it "subscribes the visitor's page in a controller, without a key in the HTML, and pushes to one visitor: P-05, P-36" do
    out = run(<<~'RUBY')
      NoDevent.test_mode!
      class PagesController < ActionController::Base
        def show
          nodevent.subscribe(SomeModel.new(id: 7), "lobby", SomeModel)
          nodevent.unsubscribe(SomeModel)
          socket.subscribe(:chan1)
          render inline: "<body>Hello</body>"
        end

        def create
          nodevent.push("saved", { id: 3 })
          NoDevent::Realtime.push(SomeModel.new(id: 7), SomeModel.new(id: 7), :all)
          render plain: [nodevent.digest, socket.connection_id].to_json
        end
      end
      App.routes.draw do
        get "/show", to: "pages#show"
        post "/create", to: "pages#create"
      end
      ActionController::Base.allow_forgery_protection = false
      _, _, page = visit("GET", "/show")
      id = page[/data-socket-connection-id="(\h{64})"/, 1]
      p page.sub(id, "ID")
      p NoDevent::Testing.subscriptions.map { |one| [one.verb, one.channel] }, NoDevent::Testing.subscriptions.map(&:page).uniq.size
      _, _, text = visit("POST", "/create", params: { socket_connection_id: id })
      digest, named = JSON.parse(text)
      p named == id, digest == NoDevent::Testing.subscriptions.first.page
      pushes = NoDevent::Testing.pushes
      p pushes.map { |push| [push.channels, push.page == digest, push.message["id"]] }
      # The same with JSON, as `fetch` sends it, and with the header.
      json = { CONTENT_TYPE: "application/json", input: { socket_connection_id: id }.to_json }
      p JSON.parse(visit("POST", "/create", **json).last).last == id
      p JSON.parse(visit("POST", "/create", HTTP_X_SOCKET_CONNECTION_ID: id).last).last == id
    RUBY
    expect(out).to eq(<<~TEXT)
      "<body data-socket-connection-id=\\"ID\\">Hello</body>"
      [["subscribed", "SomeModel_7"], ["subscribed", "lobby"], ["subscribed", "SomeModel"], ["unsubscribed", "SomeModel"], ["subscribed", "chan1"]]
      1
      true
      true
      [[["saved"], true, 3], [["SomeModel_7"], false, 7], [["all"], false, 7]]
      true
      true
    TEXT
  end

  # P-37: what the server has signed needs no token. Everything else does, whatever it claims.
  it "accepts calls of the server, and refuses forged ones" do
    out = run(<<~'RUBY')
      class PagesController < ActionController::Base
        protect_from_forgery with: :exception
        def show = render(inline: "<body><%= csrf_meta_tags %></body>")
        def create = render(plain: [request.socket?, session[:name], params[:text]].to_json)
        def script = render(js: "alert(1)")
        def sign_in = (session[:name] = "Ann") && head(:ok)
      end
      class OthersController < ActionController::Base
        protect_from_forgery with: :null_session
        def create = render(plain: [request.socket?, session[:name]].to_json)
      end
      App.routes.draw do
        get "/show", to: "pages#show"
        get "/sign_in", to: "pages#sign_in"
        get "/script", to: "pages#script"
        post "/create", to: "pages#create"
        post "/null", to: "others#create"
      end
      App.config.action_dispatch.show_exceptions = true
      ActionController::Base.allow_forgery_protection = true
      visit("GET", "/sign_in")
      visit("GET", "/show")
      form = { params: { text: "hello" } }
      call = sign("POST", "/create", "text=hello")
      report = lambda { |name, (status, _, text)| puts("#{name}: #{status} #{text if status == 200}") }
      report.("signed", visit("POST", "/create", **form, **call))
      report.("not signed", visit("POST", "/create", **form))
      report.("forged", visit("POST", "/create", **form, **call, HTTP_X_NODEVENT_SIGNATURE: "t=#{Time.now.to_i},v1=#{'0' * 64}"))
      report.("signed for another body", visit("POST", "/create", params: { text: "evil" }, **call))
      report.("signed for another path", visit("POST", "/create", **form, **sign("POST", "/other", "text=hello")))
      report.("signed, in the null session", visit("POST", "/null", **sign("POST", "/null")))
      report.("not signed, in the null session", visit("POST", "/null"))
      report.("claims of a browser", visit("POST", "/create", **form, HTTP_X_NODEVENT_CONNECTION: "b" * 64, HTTP_X_NODEVENT_NAMESPACE: "/live"))
      report.("script, signed", visit("GET", "/script", **sign("GET", "/script")))
      report.("script, from another site", visit("GET", "/script"))
      token = visit("GET", "/show").last[/name="csrf-token" content="([^"]+)"/, 1]
      report.("with a token", visit("POST", "/create", params: { text: "form", authenticity_token: CGI.unescapeHTML(token) }))
      # Another visitor's cookies.
      JAR.clear
      report.("signed for other cookies", visit("POST", "/create", **form, **call))
    RUBY
    expect(out).to eq(<<~TEXT)
      signed: 200 [true,"Ann","hello"]
      not signed: 422#{' '}
      forged: 422#{' '}
      signed for another body: 422#{' '}
      signed for another path: 422#{' '}
      signed, in the null session: 200 [true,"Ann"]
      not signed, in the null session: 200 [false,null]
      claims of a browser: 422#{' '}
      script, signed: 200 alert(1)
      script, from another site: 422#{' '}
      with a token: 200 [false,"Ann","form"]
      signed for other cookies: 422#{' '}
    TEXT
  end

  rackup = <<~'RUBY'
    require "action_controller/railtie"
    require "nodevent"

    class Site < Rails::Application
      config.root = Dir.pwd
      config.eager_load = false
      config.secret_key_base = "x" * 40
      config.logger = Logger.new(File::NULL)
      config.hosts.clear
      config.consider_all_requests_local = false
      config.nodevent.realtime = true
      routes.append do
        get "/", to: "chats#show"
        post "/messages", to: "chats#create"
      end
    end

    class ChatsController < ActionController::Base
      protect_from_forgery with: :exception

      def show
        session[:name] = "Ann"
        nodevent.subscribe("Chat")
        render inline: "<html><body>Hello</body></html>"
      end

      def create
        NoDevent::Realtime.push({ name: session[:name], text: params[:text] }, "Chat")
        nodevent.push("saved", request.socket?)
        head :created
      end
    end

    NoDevent::Realtime.handler(:whoami) { |_, session, response| response.merge(body: session["name"]) }
    Site.initialize!
    run Site
  RUBY

  it "works under Puma with the real server, and is called without a token: P-05, P-18, P-24, P-36" do
    port = Ports.free
    namespace = { "protocol" => "pakyow", "publish_key" => "a-publish-key-0123456789", "pages" => { "secret" => "a-secret-for-pages-of-32-bytes" },
                  "calls" => { "url" => "http://127.0.0.1:#{port}", "secret" => "a-secret-for-calls-of-32-bytes", "handlers" => "/nodevent/realtime" } }
    server = NodeventServer.new({ "/live" => namespace })
    file = Tempfile.new(["nodevent", ".yml"])
    file.write(YAML.dump("url" => server.url, "/live" => namespace))
    file.close
    application = PumaServer.new(rackup, port: port, env: { "NODEVENT_CONFIG" => file.path, "RAILS_ENV" => "development" })
    visitor = Visitor.new(application, server)
    page = visitor.get("/")
    socket = visitor.open(page)
    expect(socket.call(id: 1, action: "call-route", method: "POST", uri: "/messages", input: { text: "hello" })["status"]).to eq(201)
    expect([socket.receive, socket.receive]).to contain_exactly(
      { "payload" => { "name" => "Ann", "text" => "hello" }, "channel" => "Chat" }, { "payload" => true, "channel" => "saved" }
    )
    expect(socket.call(id: 2, action: "whoami")["body"]).to eq("Ann")
    # The same over HTTP needs a token.
    expect(visitor.post("/messages", text: "forged", socket_connection_id: page.id).status).to eq(422)
    expect(socket.silent?).to be(true)
  ensure
    socket&.close
    [application, server].compact.each(&:stop)
  end

  it "is not there unless the application asks for it" do
    out = rails(<<~RUBY, files: { "config/nodevent.yml" => config })
      p App.middleware.map(&:klass).include?(NoDevent::Realtime), ActionController::Base.private_method_defined?(:nodevent)
    RUBY
    expect(out).to eq("false\nfalse\n")
  end
end
