# frozen_string_literal: true

# Pages of a Rack application under Puma, with cookies, and the real server: with the memory engine, and with Redis and two
# servers, of which one has the sockets and the other the requests of the application.
RSpec.describe "Pages of visitors" do
  # The servers of the application and of the sockets.
  engines = { "the memory engine" => [{}, 1], "Redis and two servers" => [{ redis: true }, 2] }

  def frame(payload, channel)
    { "payload" => payload, "channel" => channel }
  end

  # A visitor with a page that has subscribed, and its open socket.
  def connected(channels, visitor = @app.visitor)
    page = visitor.get("/page?channels=#{channels}")
    expect(page.status).to eq(200)
    [visitor, page, visitor.open(page, server: @app.servers.last)]
  end

  def push(message, channels, application = @app.application)
    response = Visitor.new(application, nil).post("/push", channels: channels, message: JSON.generate(message))
    expect([response.status, response.body]).to eq([200, "true"])
  end

  # What a socket has received until everything pushed so far has arrived. `control` is a page that listens to everything.
  def settled(socket, control)
    push("settled", "control")
    frames = []
    frames << control.receive until frames.last == frame("settled", "control")
    socket.silent?
  end

  engines.each do |name, (settings, count)|
    describe "with #{name}" do
      before(:context) do
        @redis = RedisServer.new if settings[:redis]
        @app = RealtimeApp.new(@redis ? { "redis" => { "url" => @redis.url } } : {}, servers: count)
      end

      after(:context) do
        @app&.stop
        @redis&.stop
      end

      it "has a new id in its body tag, and nothing else changes: P-01, P-02, P-03" do
        visitor = @app.visitor
        pages = Array.new(2) { visitor.get("/") }
        pages.each { |page| expect(page.body.sub(/ data-socket-connection-id="\h{64}"/, "")).to eq(%(<!doctype html><html><head><script>'<body>'</script></head><body class="a">Hello</body></html>)) }
        expect(pages.map(&:id).uniq.size).to eq(2)
        expect(pages.map { |page| page.headers["content-length"].to_i }).to eq(pages.map { |page| page.body.bytesize })
        # The same session has the same key, and another one another.
        digests = [visitor, visitor, @app.visitor].map { |one| one.get("/digest?socket_connection_id=#{'e' * 64}").body }
        expect([digests.uniq.size, digests.uniq.size == 2 && digests[0] == digests[1]]).to eq([2, true])
        expect(%w[/streamed /empty /echo].map { |path| visitor.get(path).body }).to match(["<html><body>streamed", "", a_string_starting_with("{")])
      end

      it "takes a Symbol and its String for one channel, and no channel for an error: P-10, P-40" do
        visitor, page, socket = connected("others")
        expect(visitor.get("/without").body).to eq("ArgumentError,ArgumentError,ArgumentError")
        expect(visitor.get("/symbols?message=one&socket_connection_id=#{page.id}").body).to eq("true")
        expect(socket.receive).to eq(frame("one", "both"))
        expect(socket.silent?).to be(true)
      ensure
        socket&.close
      end

      it "replies to pings of the WebSocket, and reads messages in parts: P-38" do
        _, _, socket = connected("frames")
        expect(socket.ping("are you there")).to eq("are you there")
        socket.send_in_parts(JSON.generate(id: 1, action: "ping"))
        expect(socket.receive).to include("id" => 1, "body" => "pong")
        # The server has replied to the close frame when this returns.
        socket.close
      end

      it "receives what is pushed to its channels: P-04, P-05, P-07, P-08, P-09, P-31" do
        _, _, socket = connected("chan1,chan2")
        push({ "foo" => "bar" }, "chan1")
        expect(socket.receive).to eq(frame({ "foo" => "bar" }, "chan1"))
        push([1], "chan2,chan1,other")
        expect([socket.receive, socket.receive]).to contain_exactly(frame([1], "chan1"), frame([1], "chan2"))
        ["text", 12.5, nil, true, [nil, {}], { "key" => "k", "__propagated" => 1, "channel" => "c" }, "ü\u2028</script>"].each do |message|
          push(message, "chan1")
          expect(socket.receive).to eq(frame(message, "chan1"))
        end
      ensure
        socket&.close
      end

      it "receives what was pushed before it has connected: P-05" do
        visitor = @app.visitor
        page = visitor.get("/page?channels=early")
        push("first", "early")
        push("second", "early")
        socket = visitor.open(page, server: @app.servers.last)
        expect([socket.receive, socket.receive]).to eq([frame("first", "early"), frame("second", "early")])
      ensure
        socket&.close
      end

      it "subscribes and unsubscribes after it has connected, in any request that names it: P-06, P-11, P-28" do
        visitor, page, socket = connected("a")
        expect(visitor.post("/subscribe", channels: "b", socket_connection_id: page.id).body).to eq("true")
        expect(visitor.post("/subscribe?socket_connection_id=#{page.id}", channels: "c").body).to eq("true")
        named = { "X-Socket-Connection-Id" => page.id }
        expect(visitor.post("/subscribe", channels: "d", headers: named).body).to eq("true")
        push(1, "a,b,c,d")
        expect(Array.new(4) { socket.receive["channel"] }).to match_array(%w[a b c d])
        expect(visitor.post("/unsubscribe", channels: "a,c", socket_connection_id: page.id).body).to eq("true")
        push(2, "a")
        push(3, "c")
        push(4, "b")
        expect(socket.receive).to eq(frame(4, "b"))
        expect(socket.silent?).to be(true)
      ensure
        socket&.close
      end

      it "is silent for another id, another visitor, no id, no cookie, a forged one, and a key in the URL: P-12, P-13, P-14, P-15" do
        _, _, control = connected("control")
        visitor, page, socket = connected("private")
        other = @app.visitor
        other.get("/")
        server = @app.servers.last
        key = visitor.cookies["nodevent_page"].split(".")[1]
        forged = "nodevent_page=#{visitor.cookies['nodevent_page'].sub(/.\z/) { |digit| digit == '0' ? '1' : '0' }}"
        silent = [visitor.open("f" * 64, server: server), other.open(page, server: server),
                  visitor.open(nil, server: server), visitor.open(page, server: server, cookies: ""),
                  visitor.open(page, server: server, cookies: forged)]
        silent += [{}, { "Cookie" => other.header }].map do |headers|
          WebSocket.new(server.port, "/?socket_connection_id=#{page.id}&socket_key=#{key}", headers)
        end
        push("secret", "private")
        expect(socket.receive).to eq(frame("secret", "private"))
        expect(silent.map { |one| settled(one, control) }).to all(be(true))
      ensure
        [control, socket, *silent].compact.each(&:close)
      end

      it "cannot subscribe another visitor's page, nor its own with a key in the URL: P-15" do
        _, _, control = connected("control")
        _, page, socket = connected("mine")
        attacker = @app.visitor
        attacker.get("/")
        key = "a" * 64
        attacker.post("/subscribe?socket_key=#{key}", channels: "theirs", socket_connection_id: page.id, socket_key: key)
        digest = attacker.get("/digest?socket_connection_id=#{page.id}&socket_key=#{key}").body
        expect(digest).not_to eq(NoDevent::Realtime::Identity.digest(key, page.id))
        push("injected", "theirs")
        expect(settled(socket, control)).to be(true)
      ensure
        [control, socket].compact.each(&:close)
      end

      it "pushes to patterns, in which everything but `*` is literal: P-34" do
        _, _, socket = connected("chan1,chan2,a.c,abc,foo(")
        push(1, "chan*")
        expect(Array.new(2) { socket.receive["channel"] }).to match_array(%w[chan1 chan2])
        push(2, "a.*")
        push(3, "foo(*")
        push(4, "*c,abc")
        expect([socket.receive, socket.receive]).to eq([frame(2, "a.c"), frame(3, "foo(")])
        expect(Array.new(2) { socket.receive }).to match_array([frame(4, "a.c"), frame(4, "abc")])
        expect(socket.silent?).to be(true)
      ensure
        socket&.close
      end

      it "pushes to one page of several: P-36, P-39" do
        visitor, page, socket = connected("tabs")
        _, _, other = connected("tabs", visitor)
        push("both", "tabs")
        expect([socket.receive, other.receive]).to eq([frame("both", "tabs")] * 2)
        digest = visitor.get("/digest?socket_connection_id=#{page.id}").body
        expect(visitor.post("/direct", digest: digest, channels: "tabs", message: "one").body).to eq("true")
        expect(socket.receive).to eq(frame("one", "tabs"))
        push("both again", "tabs")
        expect(other.receive).to eq(frame("both again", "tabs"))
      ensure
        [socket, other].compact.each(&:close)
      end

      it "shares no channel of Redis with other programs: P-35", if: settings[:redis] do
        _, _, socket = connected("chan1")
        expect(%w[chan1 pw:channels].map { |channel| @redis.client.publish(channel, JSON.generate(channel: "chan1", message: "from another program")) }).to eq([0, 0])
        expect(socket.silent?).to be(true)
      ensure
        socket&.close
      end

      %i[drop close].each do |ending|
        it "continues after its socket has ended by #{ending}, with what it has missed: P-29" do
          visitor, page, socket = connected("again")
          push("before", "again")
          expect(socket.receive).to eq(frame("before", "again"))
          socket.public_send(ending)
          push("meanwhile", "again")
          socket = visitor.open(page, server: @app.servers.last)
          push("after", "again")
          expect([socket.receive, socket.receive]).to eq([frame("meanwhile", "again"), frame("after", "again")])
        ensure
          socket&.close
        end
      end

      it "loses nothing while other pages subscribe and connect: P-41" do
        _, _, socket = connected("numbers")
        others = Thread.new { Array.new(100) { connected("numbers").last } }
        sent = 0
        push(sent += 1, "numbers") while others.alive? || sent < 100
        expect(Array.new(sent) { socket.receive["payload"] }).to eq((1..sent).to_a)
      ensure
        [socket, *others&.value].compact.each(&:close)
      end

      it "calls routes with session, input and query: P-18, P-19, P-20, P-21, P-26" do
        visitor, page, socket = connected("calls")
        visitor.post("/name", name: "Ann", socket_connection_id: page.id)
        input = { "a" => "1", "b" => %w[x y], "c" => { "d" => "ü" } }
        reply = socket.call(id: 7, action: "call_route", method: "post", uri: "/echo?q=1", input: input.merge(socket_connection_id: page.id))
        expect(reply).to match("id" => 7, "status" => 201, "headers" => a_hash_including("content-type" => "application/json", "x-custom" => "kept"),
                               "body" => [an_instance_of(String)])
        expect(JSON.parse(reply["body"].join)).to eq(
          "method" => "POST", "name" => nil, "socket" => true, "query" => "q=1",
          "params" => input.merge("q" => "1", "socket_connection_id" => page.id)
        )
        over_http = visitor.get("/echo?q=1")
        expect(JSON.parse(over_http.body)).to include("socket" => false, "name" => "Ann")
        { "/" => 200, "/nowhere" => 404, "/redirect" => 302, "/broken" => 500 }.each do |path, status|
          reply = socket.call(id: path, action: "call-route", uri: path, input: { socket_connection_id: page.id })
          http = visitor.get("#{path}?socket_connection_id=#{page.id}")
          expect(http.status).to eq(status)
          expect([reply["status"], reply["body"].join, reply["headers"]["location"]]).to eq([http.status, http.body, http.headers["location"]])
        end
        # A route that knows no parts replies as usual.
        expect(socket.call(id: 8, action: "call-route", uri: "/echo", container: "x", partial: "y")["status"]).to eq(201)
      ensure
        socket&.close
      end

      it "receives a container or a partial of a view as one text: P-22" do
        visitor, _, socket = connected("calls")
        call = ->(**fields) { socket.call(id: 9, action: "call-route", uri: "/parts", **fields) }
        headers = a_hash_including("content-type" => "text/html; charset=utf-8")
        expect(call.call(container: "list")).to match("id" => 9, "status" => 202, "headers" => headers, "body" => "<ul><li>one</li></ul>")
        expect(call.call(partial: "row", method: "post", input: { a: 1 })["body"]).to eq("<li>one</li>")
        expect(call.call(container: "list", partial: "row")["body"]).to eq("<ul><li>one</li></ul>")
        expect(call.call(container: "another")["body"]).to eq("<p>no such part</p>")
        # Without a name it is the whole page, in a list. A form field is not a name, and neither is the query of a browser.
        [call.call, call.call(input: { socket_container: "list" })].each { |whole| expect(whole["body"]).to match([a_string_including("Hello")]) }
        expect(visitor.get("/parts?socket_container=list").body).to include("Hello")
        expect(call.call(container: 1)).to include("id" => 9, "status" => 400, "body" => a_string_including("`container` or `partial`"))
        expect(socket.call(id: 9, action: "call-route", uri: "/nowhere", partial: "row")).to include("status" => 404, "body" => an_instance_of(String))
      ensure
        socket&.close
      end

      it "subscribes in a route that it calls: P-06, P-20" do
        visitor, page, socket = connected("calls")
        reply = socket.call(id: 1, action: "call-route", method: "POST", uri: "/subscribe", input: { channels: "called" })
        expect(reply).to include("status" => 200, "body" => ["true"])
        push("hello", "called")
        expect(socket.receive).to eq(frame("hello", "called"))
        # The page is the one of the socket, whatever the input says.
        reply = socket.call(id: 2, action: "call-route", uri: "/digest", input: { socket_connection_id: "e" * 64 })
        expect(reply["body"]).to eq([visitor.get("/digest?socket_connection_id=#{page.id}").body])
      ensure
        socket&.close
      end

      it "calls custom handlers, and replies to what it does not understand: P-23, P-24, P-25, P-26" do
        visitor = @app.visitor
        visitor.get("/name?name=Ann")
        _, _, socket = connected("handlers", visitor)
        expect(socket.call(id: 1, action: "ping")).to include("status" => 200, "body" => "pong")
        expect(socket.call(id: 2, action: "add", a: 2, b: 3)).to include("status" => 200, "body" => 5)
        expect(socket.call(id: "name", action: "name")).to include("body" => "Ann")
        expect(socket.call(id: 3, action: "missing")).to include("status" => 404)
        failed = socket.call(id: 4, action: "fail")
        expect(failed["status"]).to eq(500)
        expect(failed.to_s).not_to include("the handler's own text")
        expect(socket.call(id: 5)).to include("status" => 400)
        socket.send({ action: "ping" })
        socket.send("{")
        socket.send("[]")
        expect(socket.call(id: 6, action: "ping")).to include("body" => "pong")
      ensure
        socket&.close
      end

      it "runs hooks with the visitor's session when it joins and leaves, also if its browser was killed: P-27, P-42" do
        _, _, watching = connected("presence")
        # Pages of other examples are leaving.
        reported = lambda do |digest|
          payload = watching.receive["payload"] until payload&.last == digest
          payload
        end
        visitor = @app.visitor
        visitor.get("/name?name=Bob")
        page = visitor.get("/")
        digest = visitor.get("/digest?socket_connection_id=#{page.id}").body
        %i[close drop].each do |ending|
          socket = visitor.open(page, server: @app.servers.last)
          expect(reported.call(digest)).to eq(["join", "Bob", true, digest])
          socket.public_send(ending)
          expect(reported.call(digest)).to eq(["leave", "Bob", true, digest])
        end
      ensure
        watching&.close
      end

      it "is refused from another origin, and with a handshake that is not one: P-16, P-37" do
        visitor = @app.visitor
        page = visitor.get("/page?channels=origin")
        status = lambda do |**headers|
          visitor.open(page, server: @app.servers.last, **headers)
        rescue WebSocket::Refused => e
          e.message
        end
        expect(status.call(Origin: "https://evil.example")).to eq("403")
        expect(status.call("Sec-WebSocket-Version": "12")).to match(/\A4\d\d\z/)
        expect(status.call("Sec-WebSocket-Key": "")).to eq("400")
        own = status.call(Origin: @app.application.url)
        expect(own).to be_a(WebSocket)
        own.close
      end
    end
  end

  describe "of an application with other settings" do
    after do
      @app&.stop
      @redis&.stop
    end

    it "has no id and no cookie with `realtime.enabled = false`: P-17" do
      @app = RealtimeApp.new({}, env: { "REALTIME_DISABLED" => "1" })
      visitor = @app.visitor
      page = visitor.get("/")
      expect([page.status, page.id, visitor.cookies, page.headers.keys & %w[cache-control set-cookie]]).to eq([200, nil, {}, []])
      expect(visitor.get("/subscribe?channels=a").body).to eq("nil")
    end

    it "pushes to `realtime.redis`, and to the Redis of the namespace in production: P-32, P-33" do
      @redis = RedisServer.new
      @app = RealtimeApp.new({ "redis" => { "url" => @redis.url } })
      visitor = @app.visitor
      page = visitor.get("/page?channels=a")
      socket = visitor.open(page)
      # These processes cannot send pushes over HTTP.
      unreachable = { "url" => "http://127.0.0.1:#{Ports.free}" }
      nothing = RedisServer.new.tap(&:stop).url
      production = @app.another(@app.server, unreachable, "RACK_ENV" => "production")
      push(1, "a", production)
      expect(socket.receive).to eq(frame(1, "a"))
      other = @app.another(@app.server, unreachable.merge("redis" => { "url" => nothing }),
                           "RACK_ENV" => "production", "REALTIME_REDIS" => @redis.url)
      push(2, "a", other)
      expect(socket.receive).to eq(frame(2, "a"))
      # Outside of production, nothing goes to Redis.
      development = @app.another(@app.server, "redis" => { "url" => nothing })
      push(3, "a", development)
      expect(socket.receive).to eq(frame(3, "a"))
    ensure
      socket&.close
    end

    it "is called by the browser client over Socket.IO, too: P-20" do
      @app = RealtimeApp.new({ "protocol" => %w[socket_io pakyow], "secret" => "a-secret-of-rooms-that-is-long-enough" })
      script = 'NoDevent.call("POST", "/echo?q=1", { a: 1 }).then(({ status, body }) => say([status, JSON.parse(body)]), (error) => say(String(error)))'
      Guide.page(@app.server.url, script, namespace: "/live") do |page|
        status, body = page.next
        expect([status, body]).to match([201, a_hash_including("method" => "POST", "socket" => true, "query" => "q=1")])
      end
    end

    it "forgets pages that never connect: P-30" do
      @redis = RedisServer.new
      @app = RealtimeApp.new({ "redis" => { "url" => @redis.url }, "pages" => { "secret" => RealtimeApp::SECRET, "initial" => "1s" } })
      visitor = @app.visitor
      keys = -> { @redis.client.keys("*") }
      before = keys.call
      pages = Array.new(20) { visitor.get("/page?channels=a") }
      expect(pages.map(&:status)).to all(eq(200))
      eventually("the pages are forgotten", limit: 30) { (keys.call - before).empty? }
    end

    engines.each do |name, (settings, count)|
      it "serves pages as fast as before with 1,000 open sockets, and needs no threads for them, with #{name}: P-43" do
        @redis = RedisServer.new if settings[:redis]
        @app = RealtimeApp.new(@redis ? { "redis" => { "url" => @redis.url } } : {}, servers: count, top: { "limits" => { "max_connections_per_address" => 2000 } })
        visitor = @app.visitor
        page = visitor.get("/page?channels=a")
        threads = -> { [*@app.servers, @app.application].map { |one| Dir["/proc/#{one.pid}/task/*"].size } }
        measure = lambda do
          %w[/ /page?channels=b].map { |path| Array.new(60) { now.then { |start| visitor.get(path) && (now - start) } }.sort[30] }
        end
        measure.call
        before = [measure.call, threads.call]
        sockets = Array.new(1000) { |number| visitor.open(page, server: @app.servers[number % count]) }
        with_sockets = [measure.call, threads.call]
        push(1, "a")
        expect(sockets.map(&:receive)).to all(eq(frame(1, "a")))
        with_sockets.first.zip(before.first) { |after, first| expect(after).to be < (3 * first) + 0.01 }
        # Threads of pools come and go.
        with_sockets.last.zip(before.last) { |after, first| expect(after).to be < first + 50 }
      ensure
        sockets&.each(&:drop)
      end
    end
  end

  it "says what the server has refused, and what to do" do
    namespace = { "protocol" => "pakyow", "publish_key" => "a-publish-key-0123456789", "pages" => { "secret" => RealtimeApp::SECRET, "max_channels" => 2 } }
    server = NodeventServer.new({ "/live" => namespace })
    configure = ->(more) { NoDevent::Emitter.config = { "url" => server.url, "/live" => namespace.merge(more) } }
    change = -> { NoDevent::Realtime::Delivery.change("a" * 40, subscribe: %w[a b c]) }
    configure.call({})
    expect(&change).to raise_error(NoDevent::ServerError, /refused with 409: the page would have too many channels; .*raise `pages: max_channels`/)
    configure.call("publish_key" => "another-key-0123456789")
    expect(&change).to raise_error(NoDevent::ServerError, /refused with 401/)
    configure.call("url" => "false")
    expect(&change).to raise_error(NoDevent::ConfigurationError, /`url` is false/)
    impostor = Impostor.new { |_, connection| connection.write(Impostor.reply(200, "<html>")) }
    configure.call("url" => impostor.url)
    expect(&change).to raise_error(NoDevent::ServerError, /not that of a NoDevent server/)
  ensure
    impostor&.stop
    server&.stop
  end

  it "shows its pages while the server is unavailable, and reports it" do
    app = RealtimeApp.new
    visitor = app.visitor
    app.server.stop
    expect(visitor.get("/").id).to match(/\A\h{64}\z/)
    expect(visitor.post("/subscribe", channels: "a").body).to eq("false")
    expect(visitor.post("/unsubscribe", channels: "a").status).to eq(500)
    expect(app.application.log).to include("nodevent: the server at #{app.server.url} is unavailable")
  ensure
    app&.application&.stop
  end
end
