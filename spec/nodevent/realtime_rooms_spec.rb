# frozen_string_literal: true

# Pages that an application subscribes to rooms of a namespace without the protocol `pakyow`: a Rack application under Puma,
# and the real server. The pages connect with `plain`, whose lines can be read here.
RSpec.describe "Pages of visitors in rooms" do
  engines = { "the memory engine" => [false, 1], "Redis and two servers" => [true, 2] }

  # The socket of a page, after the lines that confirm its rooms.
  def open_page(visitor, page, rooms, cookies: visitor.header)
    socket = WebSocket.new(@app.servers.last.port, "/ws/live?socket_connection_id=#{page.id}", { "Cookie" => cookies })
    expect(socket.receive).to include("hello")
    named = socket.receive
    joined = named["page"] ? Array.new(rooms.size + 1) { socket.receive["joined"] } : []
    expect(joined).to match_array(named["page"] ? [*rooms, true] : [])
    [socket, named["page"]]
  end

  def push(message, channels)
    response = Visitor.new(@app.application, nil).post("/push", channels: channels, message: JSON.generate(message))
    expect([response.status, response.body]).to eq([200, "true"])
  end

  # What arrives before the reply to a ping that is sent now.
  def waiting(socket)
    socket.send({ ping: 1 })
    lines = []
    lines << socket.receive until lines.last == { "pong" => 1 }
    lines[0...-1]
  end

  engines.each do |name, (redis, count)|
    describe "with #{name}" do
      before(:context) do
        @redis = RedisServer.new if redis
        settings = { "protocol" => %w[socket_io plain], "secret" => "a-secret-of-rooms-of-more-than-32-bytes" }
        settings["redis"] = { "url" => @redis.url } if @redis
        @app = RealtimeApp.new(settings, servers: count)
      end

      after(:context) do
        @app&.stop
        @redis&.stop
      end

      it "receives what is published to its rooms, without a key: P-05, P-06, P-11, P-28, P-31" do
        visitor = @app.visitor
        page = visitor.get("/page?channels=Discussion_1,News")
        expect(page.body).not_to match(/\h{64}:\d{13}/)
        push("early", "News")
        socket = WebSocket.new(@app.servers.last.port, "/ws/live?socket_connection_id=#{page.id}", { "Cookie" => visitor.header })
        lines = Array.new(6) { socket.receive }
        expect(lines.filter_map { |line| line["joined"] }).to contain_exactly("Discussion_1", "News", true)
        expect(lines.find { |line| line["event"] }).to include("room" => "News", "event" => "News", "message" => "early")
        expect(visitor.post("/subscribe", channels: "Later", socket_connection_id: page.id).body).to eq("true")
        push([1], "Later,Discussion_1")
        received = Array.new(3) { socket.receive }
        expect(received.filter_map { |line| line["room"] }).to contain_exactly("Later", "Discussion_1")
        expect(visitor.post("/unsubscribe", channels: "Later", socket_connection_id: page.id).body).to eq("true")
        push("too late", "Later")
        expect(socket.receive).to eq("left" => "Later")
        expect(waiting(socket)).to eq([])
      ensure
        socket&.close
      end

      it "is in no room with another visitor's cookie, or none: P-13, P-14" do
        visitor = @app.visitor
        page = visitor.get("/page?channels=Private")
        other = @app.visitor.tap { |one| one.get("/page?channels=Other") }
        foreign, digest = open_page(other, page, [])
        expect(digest).to match(/\A\h{40}\z/)
        expect(digest).not_to eq(visitor.get("/digest?socket_connection_id=#{page.id}").body)
        silent, unknown = open_page(visitor, page, [], cookies: "a=b")
        expect(unknown).to be_nil
        push("secret", "Private")
        expect([waiting(foreign), waiting(silent)]).to eq([[], []])
      ensure
        [foreign, silent].compact.each(&:close)
      end

      it "receives what is pushed to it alone, on one of two tabs: P-36, P-39" do
        visitor = @app.visitor
        pages = Array.new(2) { visitor.get("/page?channels=Tabs") }
        sockets = pages.map { |page| open_page(visitor, page, ["Tabs"]).first }
        digest = visitor.get("/digest?socket_connection_id=#{pages.first.id}").body
        expect(visitor.post("/direct", channels: "saved", message: "mine", digest: digest).body).to eq("true")
        expect(sockets.first.receive).to include("user" => digest, "event" => "saved", "message" => "mine")
        push("both", "Tabs")
        expect(sockets.map { |socket| socket.receive["message"] }).to eq(%w[both both])
        # A pattern finds rooms to which pages are subscribed.
        push("pattern", "Ta*")
        expect(sockets.map { |socket| socket.receive["message"] }).to eq(%w[pattern pattern])
      ensure
        sockets&.each(&:close)
      end

      it "receives what is published to all pages of its visitor: P-39" do
        visitor = @app.visitor
        pages = [visitor, visitor, @app.visitor].map { |one| [one, one.get("/visitor")] }
        names = pages.map { |_, page| page.body[/visitor:\h{40}/] }
        expect([names[0] == names[1], names[1] == names[2]]).to eq([true, false])
        sockets = pages.zip(names).map { |(one, page), room| open_page(one, page, [room]).first }
        push("yours", names.first)
        expect(sockets.first(2).map { |socket| socket.receive["message"] }).to eq(%w[yours yours])
        expect(waiting(sockets.last)).to eq([])
      ensure
        sockets&.each(&:close)
      end

      it "receives what it has missed when it returns: P-29" do
        visitor = @app.visitor
        page = visitor.get("/page?channels=Missed")
        socket, = open_page(visitor, page, ["Missed"])
        socket.drop
        push("one", "Missed")
        push("two", "Missed")
        back = WebSocket.new(@app.servers.last.port, "/ws/live?socket_connection_id=#{page.id}", { "Cookie" => visitor.header })
        lines = []
        lines << back.receive until lines.last&.dig("message") == "two"
        expect(lines.filter_map { |line| line["message"] }).to eq(%w[one two])
      ensure
        back&.close
      end
    end
  end

  it "knows from the configuration whether channels are rooms of their own" do
    { "pakyow" => true, %w[socket_io pakyow] => true, "plain" => false, %w[socket_io plain] => false, nil => false }.each do |protocol, expected|
      section = { "protocol" => protocol, "pages" => { "secret" => "0123456789abcdef" } }.compact
      NoDevent::Emitter.config = { "/live" => section }
      expect([protocol, NoDevent::Emitter.config.namespaced("/live").pages.channels?]).to eq([protocol, expected])
    end
  end
end
