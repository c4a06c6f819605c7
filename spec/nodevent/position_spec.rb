# frozen_string_literal: true

require "nodevent/doctor"

# Issue 11, section I: events that are published between rendering and the first join are not lost.
#
# Cases: publishing over HTTP and over Redis, without history, a room that this process did not publish to, a publication
# during the request, a request outside of Rails' executor, another namespace.
RSpec.describe "The position in nodevent_data" do
  include RailsApp

  # What the actions of a Rails application return for `settings`.
  def pages(settings)
    out = rails(<<~RUBY, files: { "config/nodevent.yml" => settings })
      class PagesController < ActionController::Base
        def show
          NoDevent::Emitter.emit("lobby", "during", 1, wait: true) if params[:emit]
          render json: { data: helpers.nodevent_data("lobby"), json: Room.new(1).room_json, other: helpers.nodevent_data("other") }
        end
      end
      Room = Struct.new(:id) { include NoDevent::Base }
      App.routes.draw { get "/page", to: "pages#show" }
      def page(query = "")
        _, _, body = App.call(Rack::MockRequest.env_for("/page\#{query}"))
        JSON.parse(body.each.to_a.join).then { |page| [page["data"]["nodevent_position"], page["json"]["position"], page["other"]["nodevent_position"]] }
      end
      first = page
      NoDevent::Emitter.emit("lobby", "before", 1, wait: true)
      Room.new(1).emit("before", 1, wait: true)
      outside = ActionController::Base.helpers.nodevent_data("lobby")[:nodevent_position]
      puts JSON.generate([first, page, page("?emit=1"), page, outside])
    RUBY
    JSON.parse(out)
  end

  it "is the last one before the request started, over HTTP" do
    server = NodeventServer.new({ "/nodevent" => { "open" => true } })
    first, before, during, after, outside = pages("public_url: #{server.url}\nurl: #{server.url}\n/nodevent: {open: true}\n")
    absent = /\A[89a-f]\h{15}:\d+\z/
    expect(first.compact).to all(match(absent)) # nothing was published yet, and the first read may take too long
    expect(before[0..1]).to all(match(/\A[0-7]\h{15}:1\z/))
    expect(during[0..1]).to eq(before[0..1])
    expect(after.first).to match(/\A[0-7]\h{15}:2\z/)
    expect(outside).to be_nil
  ensure
    server&.stop
  end

  it "is read from the server if this process has published nothing, with a key, and never delays a page", :native do
    secret = "a-secret-of-more-than-16-bytes"
    server = NodeventServer.new({ "publish" => "local", "/nodevent" => { "secret" => secret } })
    NoDevent::Emitter.config = { public_url: server.url, secret: secret }
    allow(NoDevent::RequestStart).to receive(:elapsed).and_return(0.01)
    position = ->(room) { NoDevent::Namespace.default.position(room) }
    ruby(<<~RUBY)
      require "nodevent"
      NoDevent::Emitter.config = { public_url: "#{server.url}" }
      3.times { |number| NoDevent::Emitter.emit("busy/ä?", "e", number, wait: true) }
    RUBY
    expect(eventually("the first read") { position.call("busy/ä?") }).to match(/\A\h{16}:3\z/)
    expect(eventually("a read in time") { position.call("quiet") }).to match(/\A\h{16}:\d+\z/)
    allow(NoDevent::RequestStart).to receive(:elapsed).and_return(3600.0)
    expect(position.call("other")).to be_nil, "the page's content may be older than the last publication"
    allow(NoDevent::RequestStart).to receive(:elapsed).and_return(0.01)
    Process.kill(:STOP, server.pid)
    eventually("the server hangs") { File.read("/proc/#{server.pid}/stat").match?(/\) T /) }
    GC.stress = false # what follows measures time
    started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    expect(Array.new(50) { |number| position.call("hanging-#{number}") }).to all(be_nil)
    expect(Process.clock_gettime(Process::CLOCK_MONOTONIC) - started).to be < 1
  ensure
    Process.kill(:CONT, server.pid) if server
    server&.stop
  end

  it "is the last one before the request started, over Redis" do
    redis = RedisServer.new
    first, before, during, after, outside = pages("/nodevent: {redis: '#{redis.url}/0', open: true}\n")
    absent = /\Af\h{15}:\d{13}\z/
    expect(first.compact).to all(match(absent)) # nothing was published yet, and the first read may take too long
    expect(before[0..1]).to all(match(/\A\h{16}:1\z/))
    expect(during[0..1]).to eq(before[0..1])
    expect(after.first).to match(/\A\h{16}:2\z/)
    expect(outside).to be_nil
  ensure
    redis&.stop
  end

  it "is read from Redis if this process has published nothing", :native do
    redis = RedisServer.new
    NoDevent::Emitter.config = { redis: redis.url }
    position = lambda do |room, elapsed|
      allow(NoDevent::RequestStart).to receive(:elapsed).and_return(elapsed)
      NoDevent::Namespace.default.position(room)
    end
    ruby(<<~RUBY)
      require "nodevent"
      NoDevent::Emitter.config = { redis: "#{redis.url}" }
      3.times { |number| NoDevent::Emitter.emit("busy", "e", number, wait: true) }
    RUBY
    eventually("the first read") { position.call("quiet", 0.01) }
    expect(position.call("busy", 60.0)).to be_nil, "the page's content may be older than the last publication"
    sleep(0.2)
    # What was read before the request started is old enough, even if it is not certain any more that nothing followed.
    expect(position.call("busy", 0.1)).to match(/\A\h{16}:3\z/)
    redis.freeze_up
    started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    20.times { |number| expect(position.call("other-#{number}", 0.01)).to be_nil }
    expect(Process.clock_gettime(Process::CLOCK_MONOTONIC) - started).to be < Waiting::LIMIT / 10.0
    expect(redis.thaw && position.call("busy", 0.1)).to match(/\A\h{16}:3\z/)
  ensure
    redis&.thaw
    redis&.stop
  end

  # A page that is only rendered must not keep a room in Redis, and a room that does not exist must not appear in it.
  it "is read from Redis without changing when anything expires there", :native do
    redis = RedisServer.new
    NoDevent::Emitter.config = { redis: redis.url }
    NoDevent::Emitter.emit("r", "e", 1, wait: true)
    client = redis.client
    client.keys("*{*").each { |key| client.pexpire(key, 120_000) }
    values = -> { client.keys("*").to_h { |key| [key, client.dump(key)] } }
    before = values.call
    left = before.to_h { |key, _| [key, client.pttl(key)] }
    expect(before.size).to be >= 3
    allow(NoDevent::RequestStart).to receive(:elapsed).and_return(0.01)
    eventually("reads") do
      NoDevent::Native.forget_positions
      NoDevent::Namespace.default.position("other")
      NoDevent::Namespace.default.position("r")
    end
    expect(client.info("commandstats").keys.grep(/evalsha/)).not_to be_empty
    expect(values.call).to eq(before)
    left.each { |key, milliseconds| expect(client.pttl(key)).to be_between(0, milliseconds) }
  ensure
    redis&.stop
  end

  { "Redis" => true, "the server" => false }.each do |engine, with_redis|
    it "begins before what another process publishes during the request, and after what it published before, on #{engine}", :native do
      redis = RedisServer.new if with_redis
      namespace = { "open" => true, "redis" => redis && { "url" => redis.url } }.compact
      server = NodeventServer.new({ "publish" => "local", "/nodevent" => namespace })
      NoDevent::Emitter.config = with_redis ? { redis: redis.url } : { public_url: server.url }
      allow(NoDevent::RequestStart).to receive(:elapsed).and_return(0.02)
      position = eventually("a position") { NoDevent::Namespace.default.position("r") }
      publish = ->(message) { Net::HTTP.post(URI("#{server.url}/api/nodevent/emit"), JSON.generate(room: "r", event: "e", message: message)) }
      eventually("a publish") { publish.call("first").is_a?(Net::HTTPSuccess) }
      recovered = JSON.parse(Net::HTTP.get(URI("#{server.url}/api/nodevent/rooms/r/history?since=#{position}")))
      expect(recovered["recovered"]).to be(true)
      expect(recovered["publications"].map { |one| one["message"] }).to eq(["first"])
    ensure
      [server, redis].compact.each(&:stop)
    end
  end

  # What an engine reports becomes part of every page.
  it "is absent if what the engine reports is not a position", :native do
    allow(NoDevent::RequestStart).to receive(:elapsed).and_return(0.01)
    position = "0123456789abcdef:41"
    ["x" * 1_000_000, "#{position}\n", "#{position}1234567890123456789", position.upcase, "\"><script>", ""].each do |reported|
      allow(NoDevent::Native).to receive(:position).and_return(reported)
      expect(NoDevent::Namespace.default.position("r")).to be_nil
    end
    allow(NoDevent::Native).to receive(:position).and_return(position)
    expect(NoDevent::Namespace.default.position("r")).to eq(position)
  end

  # What is no position is not kept, however large it is, and the publication is published all the same.
  it "is not kept if the engine's reply is not a position", :native, stress: false do
    replies = ["x" * 400_000, "0123456789abcdef:1\n", "0123456789ABCDEF:1", "0123456789abcdef:9007199254740992", "\e[31m", 7, {}]
    replies.each do |position|
      stub = StubServer.new { [200, JSON.generate(accepted: 1, position: position, positions: [position])] }
      NoDevent::Emitter.config = { url: stub.url }
      published = begin
        NoDevent::Emitter.emit("r", "e", 1, wait: true)
      rescue NoDevent::PublishError => e
        e.message
      end
      expect(published).to be(true)
      expect(NoDevent::Native.position("/nodevent", "r", 0.0, 60.0)).to be_nil
    ensure
      stub&.stop
    end
  end

  it "is not kept if what a read returns is not a position, or too large", :native, stress: false do
    allow(NoDevent::RequestStart).to receive(:elapsed).and_return(0.01)
    [JSON.generate(position: "x" * 10_000, idle_ms: 60_000), JSON.generate(position: "0123456789abcdef:1x", idle_ms: 60_000),
     JSON.generate(position: "0123456789abcdef:1", idle_ms: 60_000, pad: "x" * 20_000)].each do |body|
      stub = StubServer.new { [200, body] }
      NoDevent::Emitter.config = { url: stub.url }
      expect(NoDevent::Namespace.default.position("r")).to be_nil
      stub.next
      expect(NoDevent::Native.position("/nodevent", "r", 0.0, 60.0)).to be_nil
    ensure
      stub&.stop
    end
    stub = StubServer.new { [200, JSON.generate(position: "0123456789abcdef:1", idle_ms: 60_000)] }
    NoDevent::Emitter.config = { url: stub.url }
    expect(eventually("a read in time") { NoDevent::Namespace.default.position("r") }).to eq("0123456789abcdef:1")
  ensure
    stub&.stop
  end

  # A refusal is a reply: it concerns this room or key. A server that is overloaded or broken gets a pause.
  { 400 => true, 401 => true, 403 => true, 404 => true, 410 => true, 421 => true, 408 => false, 429 => false, 302 => false, 500 => false,
    503 => false }.each do |status, reads_on|
    it "is #{reads_on ? 'still' : 'not'} read from the server after the status #{status} for another room", :native, stress: false do
      allow(NoDevent::RequestStart).to receive(:elapsed).and_return(0.01)
      good = JSON.generate(position: "0123456789abcdef:1", idle_ms: 60_000)
      stub = StubServer.new { |request| request.path.include?("/bad/") ? [status, "{}"] : [200, good] }
      NoDevent::Emitter.config = { url: stub.url }
      # A read that takes too long pauses the reads, so the first one only connects.
      eventually("a read in time") { NoDevent::Namespace.default.position("good") }
      expect(NoDevent::Namespace.default.position("bad")).to be_nil
      sleep(0.1)
      stub.requests.clear
      NoDevent::Native.forget_positions
      Array.new(3) { |number| NoDevent::Namespace.default.position("good-#{number}") }
      expect(stub.requests.size).to eq(reads_on ? 3 : 0)
    ensure
      stub&.stop
    end
  end

  it "is read for one namespace while the server fails for another", :native, stress: false do
    allow(NoDevent::RequestStart).to receive(:elapsed).and_return(0.01)
    good = JSON.generate(position: "0123456789abcdef:1", idle_ms: 60_000)
    stub = StubServer.new { |request| request.path.include?("/api/b/") ? [429, "{}"] : [200, good] }
    NoDevent::Emitter.config = { url: stub.url, "/a": { open: true }, "/b": { open: true } }
    3.times { expect(NoDevent.namespace("/b").position("r")).to be_nil }
    expect(eventually("a read in time") { NoDevent.namespace("/a").position("r") }).to eq("0123456789abcdef:1")
  ensure
    stub&.stop
  end

  it "is read from Redis for other rooms if the key of one room has another type", :native, stress: false do
    redis = RedisServer.new
    NoDevent::Emitter.config = { redis: redis.url }
    allow(NoDevent::RequestStart).to receive(:elapsed).and_return(0.01)
    eventually("the first read") { NoDevent::Namespace.default.position("good") }
    NoDevent::Emitter.emit("bad", "e", 1, wait: true)
    names = redis.client.keys("*bad*")
    expect(names).not_to be_empty
    names.each { |name| redis.client.set(name, "not a hash") }
    NoDevent::Native.forget_positions
    expect(NoDevent::Namespace.default.position("bad")).to be_nil
    expect(NoDevent::Namespace.default.position("good")).to match(/\A\h{16}:\d+\z/)
  ensure
    redis&.stop
  end

  it "is read with a key that the server accepts, also if keys are bound or valid for a short time only", :native do
    secret = "a-secret-of-more-than-16-bytes"
    allow(NoDevent::RequestStart).to receive(:elapsed).and_return(0.01)
    allow(NoDevent::Native).to receive(:position).and_return(nil)
    { {} => [60_000, false], { bound_keys: "require" } => [60_000, true], { max_key_lifetime: "20s" } => [20_000, false],
      { bound_keys: "sign", max_key_lifetime: "20s" } => [20_000, true] }.each do |settings, (limit, bound)|
      NoDevent::Emitter.config = { url: "http://127.0.0.1:#{Ports.free}", secret: secret, **settings }
      expect(NoDevent::Emitter.publisher).to receive(:read_position) do |namespace, room, key, _|
        now = (Time.now.to_f * 1000).to_i
        expect(NoDevent::Native.verify([namespace, room, key], [secret], now, limit, bound)).to be > now + limit - 5000
        nil
      end
      NoDevent::Namespace.default.position("r")
    end
  end

  it "is absent without a history" do
    redis = RedisServer.new
    expect(pages("/nodevent: {redis: '#{redis.url}/0', open: true, history: off}\n").flatten.uniq).to eq([nil])
  ensure
    redis&.stop
  end

  it "is forgotten beyond 1,024 rooms and after the age of the history", :native do
    NoDevent::Emitter.config = { redis: { port: RedisServer.shared.port }, history: { age: "1h" } }
    position = ->(room, age = 3600.0) { NoDevent::Native.position("/nodevent", room, 0.0, age) }
    NoDevent::Emitter.emit("first", "e", 1, wait: true)
    expect([position.call("first"), position.call("first", 0.0)]).to match([/\A\h{16}:\d+\z/, nil])
    1_024.times { |number| NoDevent::Emitter.emit("room-#{number}", "e", 1) }
    NoDevent::Emitter.publisher.flush
    expect([position.call("first"), position.call("room-1023")]).to match([nil, /\A\h{16}:\d+\z/])
  end
end
