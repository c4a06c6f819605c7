# frozen_string_literal: true

# The first `emit` decides where publications go, and the next ones do not ask again. Each example therefore emits
# before it changes a decision.
RSpec.describe "The fast path of emit" do
  let(:emitter) { NoDevent::Emitter }

  before do
    emitter.config = { namespace: "/fast", history: "off", redis: { port: RedisServer.shared.port } }
    2.times { emitter.emit("r", "warm", 1) }
    expect(NoDevent.flush(10)).to be(true)
    expect(current?).to be(true)
  end

  after { expect(NoDevent.flush(10)).to be(true) }

  # What Redis receives on a channel while the block runs.
  def received(channel = "/fast")
    texts = []
    ready = Queue.new
    reader = Thread.new { subscribe(channel, ready, texts) }
    ready.pop
    yield
    expect(NoDevent.flush(10)).to be(true)
    Redis.new(port: RedisServer.shared.port).publish(channel, "end")
    reader.join
    texts.map { |text| JSON.parse(text) }
  end

  def subscribe(channel, ready, texts)
    redis = Redis.new(port: RedisServer.shared.port)
    redis.subscribe(channel) do |on|
      on.subscribe { ready << true }
      on.message { |_, text| text == "end" ? redis.unsubscribe : texts << text }
    end
  end

  def current?
    emitter.instance_variable_get(:@fast_path).current?
  end

  it "publishes the same text as the first call" do
    got = received do
      emitter.emit("r", "update", { "a" => [1, nil, "ü<"] })
      emitter.emit("r", :gong)
      emitter.emit("r", "text", "<b>")
    end
    expect(got).to eq([{ "room" => "r", "event" => "update", "message" => { "a" => [1, nil, "ü<"] } },
                       { "room" => "r", "event" => "gong", "message" => nil },
                       { "room" => "r", "event" => "text", "message" => "<b>" }])
    expect(current?).to be(true)
  end

  it "follows a new configuration" do
    emitter.config = { namespace: "/other", history: "off", redis: { port: RedisServer.shared.port } }
    got = received("/other") { emitter.emit("r", "update", 1) }
    expect(got).to eq([{ "room" => "r", "event" => "update", "message" => 1 }])
  end

  it "follows a custom publisher, and its removal" do
    published = []
    custom = Object.new
    custom.define_singleton_method(:publish) { |channel, json| published << [channel, json] }
    emitter.publisher = custom
    emitter.emit("r", "update", 1)
    expect(published).to eq([["/fast", '{"room":"r","event":"update","message":1}']])
    emitter.publisher = nil
    expect(received { emitter.emit("r", "update", 2) }.size).to eq(1)
    expect(published.size).to eq(1)
  end

  it "is silent in NoDevent.silence" do
    got = received { NoDevent.silence { expect(emitter.emit("r", "update", 1)).to be_nil } }
    expect(got).to eq([])
  end

  it "follows NoDevent.after_commit=" do
    NoDevent.after_commit = true
    expect(NoDevent::AfterCommit).to receive(:wait?).and_return(true)
    expect(emitter.emit("r", "update", 1)).to eq(:after_commit)
  ensure
    NoDevent.after_commit = false
  end

  # In a process of its own, because Active Support changes `to_json` for ever.
  it "follows Active Support, and its subscribers" do
    out = ruby(<<~'RUBY', env: { "REDIS" => "redis://127.0.0.1:#{RedisServer.shared.port}" })
      require "nodevent"
      NoDevent::Emitter.config = { redis: { url: ENV.fetch("REDIS") } }
      state = -> { print NoDevent::Emitter.instance_variable_get(:@fast_path)&.current? ? "fast " : "slow " }
      emit = -> { NoDevent::Emitter.emit("r", "update", { "a" => 1 }) }
      2.times { emit.call }
      state.call
      require "active_support"
      require "active_support/json"
      2.times { emit.call }
      NoDevent::Emitter.config = { redis: { url: ENV.fetch("REDIS") } }
      2.times { emit.call }
      state.call
      require "active_support/notifications"
      2.times { emit.call }
      state.call
      ActiveSupport::Notifications.subscribe("emit.nodevent") { |*, payload| print payload[:room] }
      emit.call
      NoDevent.flush(10) or abort "not flushed"
    RUBY
    expect(out).to eq("fast fast fast r")
  end

  it "raises the errors of the first call, with the same cause" do
    broken = Class.new { def to_json(*) = raise(IOError, "no") }.new
    broken.singleton_class.alias_method :as_json, :to_json
    expect { emitter.emit("r", "update", [broken]) }.to raise_error(IOError, "no")
    expect { emitter.emit("r", "update", "\xFF") }.to raise_error(NoDevent::EncodingError) { |error|
      expect(error.cause).to be_a(StandardError)
    }
    expect { emitter.emit("r", "update", "x" * 2_000_000) }.to raise_error(NoDevent::MessageTooLargeError)
    expect { emitter.emit("", "update", 1) }.to raise_error(NoDevent::InvalidRoomError)
    expect { emitter.emit(nil, "update", 1) }.to raise_error(NoDevent::InvalidRoomError)
    expect { emitter.emit("r", "", 1) }.to raise_error(NoDevent::InvalidEventError)
    expect { emitter.emit("r", 1, 1) }.to raise_error(NoDevent::InvalidEventError)
    expect(NoDevent::Encoder.encoding?).to be(false)
  end

  it "converts a message once, also for a name that it does not write" do
    counted = Class.new do
      attr_reader :calls

      def to_json(*)
        @calls = @calls.to_i + 1
        "1"
      end
      alias_method :as_json, :to_json
    end
    messages = Array.new(2) { counted.new }
    received do
      emitter.emit("r", "update", [messages[0]])
      emitter.emit("r ü", "update", [messages[1]])
    end
    expect(messages.map(&:calls)).to eq([1, 1])
  end

  it "writes a name as JSON that the message's conversion has changed" do
    room = +"r"
    changing = Object.new
    changing.define_singleton_method(:to_json) { |*| room.replace('r","event":"forged') && "1" }
    changing.define_singleton_method(:as_json) { |*| room.replace('r","event":"forged') && 1 }
    got = received { emitter.emit(room, "update", [changing]) }
    expect(got).to eq([{ "room" => 'r","event":"forged', "event" => "update", "message" => [1] }])
  end

  it "lets `throw` and `break` through" do
    thrown = Class.new { def to_json(*) = throw(:out, 1) }.new
    thrown.singleton_class.alias_method :as_json, :to_json
    expect(catch(:out) { emitter.emit("r", "update", [thrown]) }).to eq(1)
    expect(NoDevent::Encoder.encoding?).to be(false)
    expect(received { emitter.emit("r", "update", 1) }.size).to eq(1)
  end

  it "marks the fiber while it converts a message, which must not contain keys" do
    marks = []
    message = Object.new
    message.define_singleton_method(:to_json) { |*| (marks << NoDevent::Encoder.encoding?) && "1" }
    message.define_singleton_method(:as_json) { |*| (marks << NoDevent::Encoder.encoding?) && 1 }
    emitter.emit("r", "update", [message])
    expect(marks).to eq([true])
    expect(NoDevent::Encoder.encoding?).to be(false)
  end

  it "publishes from a child process" do
    got = received do
      pid = fork do
        emitter.emit("r", "child", 1)
        exit!(NoDevent.flush(10) ? 0 : 1)
      end
      expect(Process.wait2(pid).last).to be_success
      emitter.emit("r", "parent", 1)
    end
    expect(got.map { |text| text["event"] }).to eq(%w[child parent])
  end

  it "starts the reporter again if its thread was killed" do
    thread = Thread.list.find { |one| one.name == "nodevent reports" && one.alive? }
    thread.kill.join
    expect(current?).to be(false)
    emitter.emit("r", "update", 1)
    expect(NoDevent::Publisher::Reporter).to be_running
    expect(current?).to be(true)
  end

  it "names the room of a record" do
    record = Struct.new(:id) { include NoDevent::Base }
    stub_const("Discussion", record)
    got = received { 2.times { emitter.emit(Discussion.new(12), "update", 1) } }
    expect(got.map { |text| text["room"] }).to eq(%w[Discussion_12 Discussion_12])
  end
end
