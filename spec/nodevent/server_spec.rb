# frozen_string_literal: true

require "net/http"

RSpec.describe NoDevent::Server do
  def with_app(**options)
    app = HandoverApp.new(**options)
    yield app
  ensure
    app&.stop
  end

  def get(app, path, headers = {})
    Net::HTTP.get_response(URI("#{app.puma.url}#{path}"), headers)
  end

  # Joins a room, and expects what is published to it.
  def receives(app, socket, text)
    socket.send('42/nodevent,0["join",{"room":"r"}]')
    until socket.next_text.start_with?("43/nodevent,0"); end
    app.emit(text)
    frame = socket.next_text until frame&.include?(text)
  end

  it "hands WebSockets over, and keeps nothing of them: every thread stays free" do
    with_app(options: %w[--threads 5:5]) do |app|
      get(app, "/")
      before = app.puma.descriptors
      sockets = Array.new(200) { app.websocket }
      receives(app, sockets.last, "to-the-last")
      # Puma closes its side a moment after the response.
      eventually("only few descriptors") { app.puma.descriptors < before + 20 }
      inside = Array.new(5) { Thread.new { get(app, "/barrier?5").body.to_i } }.map(&:value)
      expect(inside).to all(be >= 5)
    ensure
      sockets&.each(&:drop)
    end
  end

  it "hands over polls and streams of events, which would hold the only thread" do
    with_app(options: %w[--threads 1:1]) do |app|
      opened = get(app, "/nodevent/socket.io/?EIO=4&transport=polling")
      expect(opened["connection"]).not_to eq("close")
      poll = URI("#{app.puma.url}/nodevent/socket.io/?EIO=4&transport=polling&sid=#{JSON.parse(opened.body[1..])['sid']}")
      packets = lambda do |text|
        waiting = Thread.new { Net::HTTP.get_response(poll) }
        eventually("the poll waits") { waiting.status == "sleep" }
        expect(get(app, "/").body).to eq(app.puma.pid.to_s)
        expect(Net::HTTP.post(poll, text).body).to eq("ok")
        waiting.value.body
      end
      expect(packets.call("40/nodevent,")).to start_with("40/nodevent,")
      expect(packets.call('42/nodevent,0["join",{"room":"r"}]')).to include("43/nodevent,0")
      stream = TCPSocket.new("127.0.0.1", app.puma.port)
      stream.write("GET /nodevent/api/nodevent/rooms/r/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
      head = stream.readpartial(4096)
      expect(head).to include("text/event-stream").and match(/connection: close/i)
      app.emit("to-the-stream")
      received = +""
      received << stream.readpartial(4096) until received.include?("to-the-stream")
      expect(get(app, "/").code).to eq("200")
      stream.close
    end
  end

  it "hands over what may be large, so that clients that do not read hold no thread" do
    with_app(options: %w[--threads 1:1]) do |app|
      8.times { app.emit("x" * 500_000) }
      slow = Socket.new(:INET, :STREAM)
      slow.setsockopt(:SOCKET, :RCVBUF, 4096)
      slow.connect(Addrinfo.tcp("127.0.0.1", app.puma.port))
      slow.write("GET /nodevent/api/nodevent/rooms/r/history HTTP/1.1\r\nHost: localhost\r\n\r\n")
      expect(slow.readpartial(15)).to eq("HTTP/1.1 200 OK")
      begun = now
      expect(get(app, "/").body).to eq(app.puma.pid.to_s)
      # Puma gives up after 10 s.
      expect(now - begun).to be < 5
    ensure
      slow&.close
    end
  end

  it "hands nothing over to a program of another user that listens at the path of the server" do
    Dir.mktmpdir do |folder|
      path = File.join(folder, "nodevent.sock")
      UNIXServer.open(path) do |listener|
        allow(Process).to receive(:euid).and_return(Process.euid + 1)
        expect { NoDevent::Handover::Link.new(path) }
          .to raise_error(NoDevent::Handover::Unavailable, /belongs to the user #{Process.uid}, not to/)
        expect(listener.accept.read).to eq("")
      end
    end
  end

  it "passes other requests on, with their bodies and responses, and keeps the connection to the browser" do
    with_app do |app|
      Net::HTTP.start("127.0.0.1", app.puma.port) do |http|
        script = http.get("/nodevent/api/nodevent")
        expect(script.code).to eq("200")
        expect(script.body).to eq(Net::HTTP.get(URI("#{app.server.url}/api/nodevent")))
        expect(http.get("/nodevent/api/nodevent", "If-None-Match" => script["etag"]).code).to eq("304")
        expect(http.head("/nodevent/api/nodevent", "Accept-Encoding" => "identity")["content-length"].to_i).to eq(script.body.bytesize)
        body = JSON.generate("room" => "r", "event" => "e", "message" => "x" * 300_000)
        refused = http.post("/nodevent/api/nodevent/emit", body, "Content-Type" => "application/json")
        expect([refused.code, refused.body]).to match(["403", /without a publish key/])
        large = http.post("/nodevent/api/nodevent/emit", "x" * ((16 * 1024 * 1024) + 1))
        expect(large.code).to eq("413")
        expect(http.get("/nodevent/elsewhere").code).to eq("404")
        expect(http.get("/").code).to eq("200")
      end
    end
  end

  it "says who the visitor is, and the connection joins the rooms of the identity" do
    with_app(settings: { "secret" => "a-secret-of-more-than-sixteen" }) do |app|
      # Without a value the parameter names no connection, so this begins one.
      app.websocket("&user=7&sid=").then do |other|
        joined = other.next_text until joined&.include?('"room":"team"')
        expect(joined).to include('"joined"')
        other.close
      end
      socket = app.websocket("&user=7")
      joined = socket.next_text until joined&.include?('"room":"team"')
      expect(joined).to include('"joined"').and(satisfy { |text| !text.include?("error") })
      app.emit("to-the-user", "users" => "7")
      received = socket.next_text until received&.include?("to-the-user")
      other = app.websocket
      other.send('42/nodevent,0["join",{"room":"team"}]')
      expect(other.next_text).to start_with("43/nodevent,0").and(satisfy { |text| !text.include?("true") })
      [socket, other].each(&:close)
    end
  end

  it "does not lose what a client sends together with its handshake" do
    with_app do |app|
      socket = WebSocket.new(app.puma.port, HandoverApp::PATH, early: "40/nodevent,")
      expect(socket.next_text).to start_with("0{")
      expect(socket.next_text).to start_with("40/nodevent,")
      socket.close
    end
  end

  it "responds with 503 and logs once while the server is not there, and hands over again when it is" do
    with_app do |app|
      app.server.stop
      responses = Array.new(3) { get(app, "/nodevent/api/nodevent") }
      expect(responses.map { |one| [one.code, one["retry-after"]] }.uniq).to eq([%w[503 1]])
      expect { app.websocket }.to raise_error(WebSocket::Refused, "503")
      expect(app.puma.log.scan("cannot be reached through its Unix socket").size).to eq(1)
      expect(app.puma.log).not_to match(/\.rb:\d+:in/)
      app.server.start
      app.websocket.close
      expect(get(app, "/nodevent/api/nodevent").code).to eq("200")
    end
  end

  it "asks a server that does not reply once, and responds to other requests at once" do
    with_app(options: %w[--threads 1:1]) do |app|
      Process.kill(:STOP, app.server.pid)
      expect { app.websocket }.to raise_error(WebSocket::Refused, "503")
      begun = now
      expect(get(app, "/nodevent/api/nodevent").code).to eq("503")
      expect(now - begun).to be < 4
    ensure
      Process.kill(:CONT, app.server.pid)
    end
  end

  it "keeps WebSockets open when Puma ends, in a cluster too" do
    with_app(options: %w[--workers 2 --preload]) do |app|
      sockets = Array.new(20) { app.websocket }
      app.puma.stop
      sockets.each { |socket| receives(app, socket, "still-open") }
      app.start
      receives(app, app.websocket, "new")
    ensure
      sockets&.each(&:drop)
    end
  end

  it "hands over the sockets of a proxy that Puma accepts on a Unix socket" do
    Dir.mktmpdir do |folder|
      path = File.join(folder, "puma.sock")
      with_app(options: ["--bind", "unix://#{path}"]) do |app|
        socket = app.websocket("", at: path)
        receives(app, socket, "through-the-proxy")
        socket.close
      end
    end
  end

  it "works behind nginx with the configuration of the documentation" do
    location = File.read(File.join(ROOT, "docs/one-port.md"))[/^```nginx\n(.*?)^```/m, 1]
    with_app do |app|
      Dir.mktmpdir do |folder|
        port = Ports.free
        File.write(File.join(folder, "nginx.conf"), <<~NGINX)
          daemon off; worker_processes 1; pid #{folder}/pid; error_log #{folder}/error.log;
          events { worker_connections 64; }
          http {
            access_log off; client_body_temp_path #{folder}; proxy_temp_path #{folder}; fastcgi_temp_path #{folder};
            uwsgi_temp_path #{folder}; scgi_temp_path #{folder};
            upstream app { server 127.0.0.1:#{app.puma.port}; }
            server { listen 127.0.0.1:#{port}; #{location} }
          }
        NGINX
        nginx = Process.spawn("nginx", "-c", "#{folder}/nginx.conf", "-e", "#{folder}/error.log")
        eventually("nginx", limit: 60) { !Ports.free?(port) }
        socket = app.websocket("", at: port)
        receives(app, socket, "through-nginx")
        expect(Net::HTTP.get_response(URI("http://127.0.0.1:#{port}/nodevent/api/nodevent")).code).to eq("200")
        socket.close
      ensure
        Process.kill(:TERM, nginx) if nginx
        Process.wait(nginx) if nginx
      end
    end
  end

  it "says that it cannot give a socket away with which Puma does TLS, and passes the other requests on" do
    Dir.mktmpdir do |folder|
      authority = CertificateAuthority.new(folder)
      authority.sign("server")
      port = Ports.free
      bind = "ssl://127.0.0.1:#{port}?key=#{authority.path('server.key')}&cert=#{authority.path('server.pem')}"
      with_app(options: ["--bind", bind]) do |app|
        Net::HTTP.start("127.0.0.1", port, use_ssl: true, verify_mode: OpenSSL::SSL::VERIFY_NONE) do |http|
          upgrade = { "Connection" => "Upgrade", "Upgrade" => "websocket" }
          2.times { expect(http.get(HandoverApp::PATH, upgrade).code).to eq("501") }
          expect(http.get("/nodevent/api/nodevent").code).to eq("200")
        end
        expect(app.puma.log.scan("this web server cannot give a socket away").size).to eq(1)
        app.websocket.close
      end
    end
  end

  it "serves the paths of unchanged clients as a middleware, and leaves the others to the application" do
    rackup = HandoverApp::RACKUP.sub(/^map.*$/, "use NoDevent::Server")
    with_app(rackup: rackup) do |app|
      socket = WebSocket.new(app.puma.port, HandoverApp::PATH.delete_prefix("/nodevent"))
      expect(socket.next_text).to start_with("0{")
      socket.close
      expect(get(app, "/api/nodevent")["content-type"]).to include("javascript")
      expect(["/api/own", "/api", "/socket.iox", "/"].map { |path| get(app, path).body }.uniq).to eq([app.puma.pid.to_s])
    end
  end

  describe "requests that cannot be passed on" do
    def env(more = {})
      { "REQUEST_METHOD" => "GET", "PATH_INFO" => "/api/nodevent", "QUERY_STRING" => "", "HTTP_HOST" => "x" }.merge(more)
    end

    it "rejects what would be another request" do
      [{ "HTTP_X_ONE" => "a\r\nX-Forwarded-For: 127.0.0.1" }, { "QUERY_STRING" => "a b" },
       { "QUERY_STRING" => "a\r\n" }].each do |more|
        expect(described_class.call(env(more)).first).to eq(400)
      end
    end

    it "passes no header on whose name is ambiguous, and none of the connection" do
      head = NoDevent::Handover::RequestHead.of_request(
        env("HTTP_X_FORWARDED,FOR" => "1", "HTTP_CONNECTION" => "x", "HTTP_TRANSFER_ENCODING" => "chunked",
            "HTTP_X_OWN" => "ä", "HTTP_VERSION" => "HTTP/1.1", "HTTP_CONTENT_LENGTH" => "7"), "/api/nodevent", 0
      )
      expect(head).to eq("GET /api/nodevent HTTP/1.0\r\nhost: x\r\nx-own: ä\r\n\r\n")
    end

    it "responds with 503 if no socket is known" do
      Dir.mktmpdir do |folder|
        allow(NoDevent::Configuration).to receive(:root).and_return(folder)
        expect(described_class.call(env)[0, 2]).to match([503, include("retry-after" => "1")])
      end
    end

    it "says what is wrong with an identity" do
      visitor = NoDevent::Handover::Visitor
      { 7 => /returns a Hash or nil/, { name: "Ann" } => /unknown key/, {} => /needs a user/ }.each do |said, error|
        NoDevent.identify { said }
        expect { visitor.identities("rack.input" => nil) }.to raise_error(ArgumentError, error)
      end
    ensure
      visitor.instance_variable_set(:@blocks, nil)
    end
  end

  it "gives pages the application's own address where it is mounted and the server can be reached" do
    Dir.mktmpdir do |folder|
      described_class.at = "/nodevent"
      path = File.join(folder, "nodevent.sock")
      settings = { public_url: "http://live.example.com", "/nodevent" => {}, "/cable" => { protocol: "action_cable" } }
      NoDevent::Emitter.config = settings.merge(handover_socket: path)
      expect(NoDevent.namespace("nodevent").url).to eq("/nodevent/api/nodevent")
      expect(NoDevent::Cable.url).to eq("/nodevent/cable")
      allow(NoDevent::Configuration).to receive(:root).and_return(folder)
      NoDevent::Emitter.config = settings
      expect(NoDevent.namespace("nodevent").url).to eq("http://live.example.com/api/nodevent")
      expect(NoDevent::Cable.url).to eq("ws://live.example.com/cable")
    end
  ensure
    described_class.at = nil
    described_class.forget
  end

  describe "in Rails" do
    include RailsApp

    let(:routes) { { "config/routes.rb" => "App.routes.draw { mount NoDevent::Server => '/live'; root to: ->(_) { [200, {}, []] } }" } }

    it "knows the visitor by the session, with the mount of the generator" do
      rackup = <<~'RUBY'
        require "rails"
        require "action_controller/railtie"
        require "nodevent"
        class PagesController < ActionController::Base
          def show
            session[:user] = params[:user] if params[:user]
            render inline: "<%= javascript_include_nodevent %>"
          end
        end
        class App < Rails::Application
          config.root = Dir.pwd
          config.logger = Logger.new($stderr)
          config.secret_key_base = "x" * 40
          config.hosts.clear
          config.eager_load = false
          routes.append do
            mount NoDevent::Server => "/nodevent"
            root to: "pages#show"
          end
        end
        NoDevent.identify { |request| request.session[:user] && { user: request.session[:user], rooms: ["team"] } }
        NoDevent.authorize { |_room, request| request.session[:user] == "7" }
        run App.initialize!
      RUBY
      with_app(rackup: rackup, settings: { "secret" => "a-secret-of-more-than-sixteen" }) do |app|
        page = get(app, "/?user=7")
        expect(page.body).to include("src='/nodevent/api/nodevent'")
        cookie = { "Cookie" => page["set-cookie"][/\A[^;]+/] }
        socket = WebSocket.new(app.puma.port, HandoverApp::PATH, cookie)
        expect(socket.next_text).to start_with("0{")
        socket.send("40/nodevent,")
        joined = socket.next_text until joined&.include?('"room":"team"')
        key = Net::HTTP.post(URI("#{app.puma.url}/nodevent/key"), '{"room":"other"}', cookie)
        socket.send("42/nodevent,0[\"join\",{\"room\":\"other\",\"key\":\"#{JSON.parse(key.body).fetch('key')}\"}]")
        reply = socket.next_text until reply&.start_with?("43/nodevent,0")
        expect(reply).to include("true")
        socket.close
        poll = get(app, "/nodevent/socket.io/?EIO=4&transport=polling", cookie)
        expect(poll.body).to start_with("0{")
        # As a form, which Rails reads before.
        post = URI("#{app.puma.url}/nodevent/socket.io/?EIO=4&transport=polling&sid=#{JSON.parse(poll.body.delete_prefix('0')).fetch('sid')}")
        expect(Net::HTTP.post(post, "40/nodevent,", cookie).then { |posted| [posted.code, posted.body] }).to eq(%w[200 ok])
        expect(app.puma.log).not_to include("Error")
      end
    end

    it "finds its route, and leaves paths below it to later routes" do
      out = rails(<<~RUBY, files: routes, env: { "NODEVENT_HANDOVER_SOCKET" => "/nonexistent/nodevent.sock" })
        NoDevent.authorize { true }
        App.routes.append { mount ->(env) { [200, {}, ["own"]] } => "/live/own" }
        Rails.application.reload_routes!
        puts NoDevent::Server.at, ActionController::Base.helpers.nodevent_url
        request = Rack::MockRequest.new(Rails.application)
        puts request.get("/live/own").body, request.get("/live/api/nodevent").status, request.get("/live/socket.io/?EIO=4").status
      RUBY
      expect(out.lines.map(&:chomp)).to eq(["/live", "/live/api/nodevent", "own", "503", "503"])
    end
  end
end
