# frozen_string_literal: true

require "json"
require "rack"
require "rack/mock"

# What the application calls, and what the server receives of it.
RSpec.describe NoDevent::Realtime::Socket do
  id = "b" * 64
  key = "a" * 64
  digest = "9756a9cdb5797b5307a366287dfa5b014395bfdb"
  secret = "0123456789abcdef0123456789abcdef"

  # Records what would be sent.
  recorder = Class.new do
    attr_reader :sent

    def initialize = @sent = []
    def publish(namespace, json) = (@sent << [namespace, JSON.parse(json)]) && true
    def realtime(namespace, path, json) = @sent << [namespace, path, JSON.parse(json)]
  end

  let(:sent) { NoDevent::Emitter.publisher.sent }
  let(:realtime) { NoDevent::Realtime }
  let(:socket) do
    env = { "rack.session" => { socket_key: key }, "QUERY_STRING" => "socket_connection_id=#{id}", "REQUEST_METHOD" => "GET" }
    realtime.new(->(_) { [204, {}, []] }).call(env)
    realtime.socket(env)
  end

  before do
    NoDevent::Emitter.config = { "/live" => { "pages" => { "secret" => secret } } }
    NoDevent::Emitter.publisher = recorder.new
  end

  after { realtime.reset! }

  it "has the digest of the session's key and the page's id" do
    expect([socket.digest, socket.connection_id, socket.inspect]).to eq([digest, id, "#<NoDevent::Realtime::Socket>"])
  end

  it "takes channels as Strings and Symbols, one by one and in Arrays, each once: P-08, P-40" do
    expect(socket.subscribe(:chan1, ["chan1", [:b]], "c")).to be(true)
    expect(socket.unsubscribe("b", :b)).to be(true)
    expect(socket.push("text", :chan1, ["chan1"])).to be(true)
    expect(sent).to eq([
                         ["/live", "pages", { "page" => digest, "subscribe" => %w[chan1 b c] }],
                         ["/live", "pages", { "page" => digest, "unsubscribe" => %w[b] }],
                         ["/live", { "room" => "pakyow:chan1", "event" => "chan1", "message" => "text" }]
                       ])
  end

  it "rejects what names no channel: P-10" do
    [[], [[]], [nil], [1], [""], ["a\n"], ["\xFF"], ["x" * 249], [{ a: 1 }], (1..129).map(&:to_s)].each do |channels|
      expect { socket.subscribe(*channels) }.to raise_error(ArgumentError, /subscribe/)
      expect { socket.unsubscribe(*channels) }.to raise_error(ArgumentError, /unsubscribe/)
      expect { socket.push("text", *channels) }.to raise_error(ArgumentError, /push/)
    end
    expect { socket.subscribe("a*") }.to raise_error(ArgumentError, /which only `push` understands/)
    expect(sent).to eq([])
  end

  it "pushes any JSON, also members that older versions took for their own: P-09, P-35" do
    messages = ["text", 1, nil, true, [1, [nil]], { "key" => "x", "__propagated" => true, "room" => 1, "event" => 2 }, "\u2028</script>"]
    messages.each { |message| socket.push(message, :a) }
    expect(sent.map { |_, publication| publication["message"] }).to eq(messages)
    messages.each { |message| socket.push(message, "a*") }
    expect(sent.drop(messages.size).map { |_, path, body| [path, body] }).to eq(messages.map { |message| ["push", { "channels" => ["a*"], "message" => message }] })
    expect { socket.push(Float::NAN, :a) }.to raise_error(NoDevent::EncodingError)
    expect { socket.push("\xFF", "a*") }.to raise_error(NoDevent::EncodingError)
  end

  it "sends names and patterns together, so that a page receives one frame per channel: P-34" do
    socket.push(1, "chan*", :chan1)
    expect(sent).to eq([["/live", "push", { "channels" => ["chan*", "chan1"], "message" => 1 }]])
  end

  it "pushes to one page: P-36" do
    expect(socket.push_message_to_socket_with_key({ a: 1 }, :chan1, digest)).to be(true)
    expect(sent).to eq([["/live", { "user" => digest, "event" => "chan1", "message" => { "a" => 1 } }]])
    ["", "x", nil, digest.upcase, "#{digest}\n"].each do |wrong|
      expect { socket.push_message_to_socket_with_key(1, :a, wrong) }.to raise_error(ArgumentError, /40 hexadecimal digits/)
    end
    expect { socket.push_message_to_socket_with_key(1, "a*", digest) }.to raise_error(ArgumentError)
  end

  # A visitor can load pages until the server stores no more.
  it "does not fail a page for which the server has no place, or no engine" do
    status = 507
    server = StubServer.new { [status, JSON.generate(error: "too many pages")] }
    NoDevent::Emitter.publisher = nil
    NoDevent::Emitter.config = { "/live" => { "url" => server.url, "pages" => { "secret" => secret } } }
    [507, 503].each do |unavailable|
      status = unavailable
      expect(socket.subscribe(:a)).to be(false)
    end
    expect(@log.string).to include("the server refused with 507: too many pages")
    status = 403
    expect { socket.subscribe(:a) }.to raise_error(NoDevent::ServerError, /refused with 403: too many pages/)
  ensure
    server&.stop
  end

  it "pushes nothing while silenced" do
    expect(NoDevent.silence { [socket.push(1, :a), socket.push(1, "a*"), realtime.push_message_to_socket_with_key(1, :a, digest)] })
      .to eq([nil] * 3)
    expect(sent).to eq([])
  end

  describe "settings" do
    let(:settings) { realtime.settings }

    before { NoDevent::Emitter.publisher = nil }

    def environment(name)
      old = ENV.to_h.slice("NODEVENT_ENV", "RAILS_ENV", "RACK_ENV")
      ENV["NODEVENT_ENV"] = name
      yield
    ensure
      ENV.delete("NODEVENT_ENV")
      ENV.update(old)
    end

    it "has Redis in production, and memory otherwise, and can be changed: P-32" do
      expect(%w[development test staging].map { |name| environment(name) { settings.registry } }.uniq).to eq([realtime::SimpleRegistry])
      environment("production") do
        expect(settings.registry).to eq(realtime::RedisRegistry)
        expect { settings.publishing }.to raise_error(NoDevent::ConfigurationError, %r{/live: no `redis`, and the registry is Redis})
        realtime.configure { |realtime| realtime.registry = NoDevent::Realtime::SimpleRegistry }
        expect(settings.publishing.redis).to be_nil
      end
      realtime.configure { |realtime| realtime.registry = NoDevent::Realtime::RedisRegistry }
      environment("development") { expect(settings.registry).to eq(realtime::RedisRegistry) }
      expect { settings.registry = :redis }.to raise_error(ArgumentError, /RedisRegistry or SimpleRegistry, not :redis/)
    end

    it "publishes to realtime.redis, or to that of the namespace: P-33" do
      NoDevent::Emitter.config = { "/live" => { "pages" => { "secret" => secret }, "redis" => "redis://one:1", "history" => { "size" => 7, "age" => "1m" } } }
      expect(settings.publishing.publishes_over_http?).to be(true)
      settings.registry = realtime::RedisRegistry
      expect(settings.publishing).to equal(NoDevent::Emitter.config.namespaced("/live"))
      settings.redis = { url: "redis://two:2" }
      publishing = settings.publishing
      expect([publishing.redis_target[:hosts], publishing.namespace, publishing.history[:default][:size]]).to eq([[["two", 2]], "/live", 7])
      expect(settings.publishing).to equal(publishing)
      expect(NoDevent::Emitter.config.namespaced("/live").redis_target[:hosts]).to eq([["one", 1]])
      expect { settings.redis = { path: "/tmp/x" } }.to raise_error(NoDevent::ConfigurationError, /\Arealtime\.redis\.path is not supported/)
      expect(settings.redis).to eq(url: "redis://two:2")
    end

    it "uses the namespace with `pages`, or the one that redis_key names" do
      NoDevent::Emitter.config = { "/a" => {}, "/b" => { "pages" => { "secret" => secret } }, "/c" => { "pages" => { "secret" => secret } } }
      expect(settings.redis_key).to eq("/b")
      settings.redis_key = "c"
      expect(settings.config.namespace).to eq("/c")
      settings.redis_key = nil
      expect(settings.namespace).to eq("/b")
    end

    it "names what is wrong in `pages` and `calls`" do
      { { "pages" => { "secret" => "short" } } => "pages.secret is shorter than 16 bytes",
        { "pages" => { "cookie" => "x" } } => "pages.secret is missing",
        { "pages" => "on" } => "pages is text, not a mapping",
        { "pages" => { "secret" => secret, "cookie" => "a b" } } => "pages.cookie is not the name of a cookie",
        { "calls" => { "url" => "http://localhost" } } => "calls.secret is missing",
        { "calls" => { "secret" => secret, "handlers" => "nodevent" } } => "calls.handlers is not a path" }.each do |section, message|
        expect { NoDevent::Emitter.config = { "/live" => section } }.to raise_error(NoDevent::ConfigurationError, %r{\A[\w:.]+: /live\.#{message}})
      end
    end
  end

  it "registers handlers and hooks by their names: P-24, P-27" do
    expect(realtime.handler(:a) { nil }).to be_a(Proc)
    expect { realtime.handler(:a) }.to raise_error(ArgumentError, /needs a block/)
    %i[ping call-route call_route].each do |name|
      expect { realtime.handler(name) { nil } }.to raise_error(ArgumentError, /the server itself handles/)
    end
    expect { realtime.on(:enter) { nil } }.to raise_error(ArgumentError, /there are join and leave/)
    expect { realtime.on(:join) }.to raise_error(ArgumentError, /needs a block/)
    expect { realtime.configure }.to raise_error(ArgumentError, /needs a block/)
  end
end
