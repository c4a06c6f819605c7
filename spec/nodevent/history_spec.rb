# frozen_string_literal: true

require "nodevent/doctor"

# With Redis, the publisher assigns the position in the room's history, with the script that the server uses too.
RSpec.describe "NoDevent's history on Redis", :native do
  let(:server) { RedisServer.shared }
  let(:redis) { server.client }
  let(:listener) { Listener.new(server, "/history") }
  let(:room) { "room-#{SecureRandom.hex(4)}" }

  before { listener }
  after { listener.stop }

  def configure(**settings)
    NoDevent::Emitter.config = { namespace: "/history", redis: { port: server.port } }.merge(settings)
  end

  def emit(message, **options)
    NoDevent::Emitter.emit(room, "e", message, **options)
  end

  # The name of a key, as in section 6 of protocol/README.md.
  def history_key(room, kind)
    "nodevent:1:{8:/history:#{room.bytesize}:#{room}}:#{kind}"
  end

  def log
    redis.xrange(history_key(room, "log")).map { |_, entry| JSON.parse(entry["d"])["message"] }
  end

  it "keeps the last hundred publications of a room, each with its position" do
    configure
    105.times { |number| emit(number) }
    emit("last", wait: true)
    expect(log).to eq([*6..104, "last"])
    positions = listener.take(106).map { |text| JSON.parse(text).fetch("position") }
    expect(positions.map { |position| position[/\A\h{16}:(\d+)\z/, 1].to_i }).to eq((1..106).to_a)
  end

  it "publishes what waits in few calls, in order, each room with its own positions" do
    configure
    rooms = Array.new(3) { |number| "#{room}-#{number}" }
    emit("connected", wait: true)
    calls = script_calls
    300.times { |number| NoDevent::Emitter.emit(rooms[number % 3], "e", number) }
    published = listener.take(301)
    # 64 in each call would be 5, but the publisher takes what it finds as soon as there is something.
    expect(script_calls - calls).to be < 150
    published = published.drop(1).map { |text| JSON.parse(text) }
    expect(published.map { |one| one["message"] }).to eq((0...300).to_a)
    rooms.each do |name|
      positions = published.select { |one| one["room"] == name }.map { |one| one["position"][/:(\d+)\z/, 1].to_i }
      expect(positions).to eq((1..100).to_a)
    end
  end

  it "publishes rooms with other retention, plain rooms and idempotency keys between the batches, in order" do
    configure(history: { size: 5, age: "1m", rooms: { "plain*" => "off", "long*" => { size: 50 } } })
    names = ["#{room}-a", "plain-#{room}", "long-#{room}"]
    30.times do |number|
      options = number % 10 == 9 ? { idempotency_key: "key-#{number}" } : {}
      NoDevent::Emitter.emit(names[number % 3], "e", number, **options)
    end
    published = listener.take(30).map { |text| JSON.parse(text) }
    expect(published.map { |one| one["message"] }).to eq((0...30).to_a)
    expect(published.map { |one| one.key?("position") }).to eq([true, false, true] * 10)
  end

  # How often Redis has run a script.
  def script_calls
    redis.info("commandstats").dig("evalsha", "calls").to_i
  end

  it "keeps what the configuration says, per room prefix, or nothing" do
    configure(history: { size: 2, age: "1m", rooms: { "#{room}*" => { size: 3 } } })
    5.times { |number| emit(number, wait: true) }
    expect(log).to eq([2, 3, 4])
    expect(redis.pttl(history_key(room, "log"))).to be_between(1, 60_000)
    # The position outlives the history by a day, so that a client of a quiet room can learn that it missed nothing.
    expect(redis.pttl(history_key(room, "position"))).to be > 23 * 60 * 60 * 1000

    redis.del(history_key(room, "log"))
    configure(history: "off")
    emit("not kept", wait: true)
    expect(log).to be_empty
    expect(listener.take(6).map { |text| JSON.parse(text).key?("position") }).to eq(([true] * 5) + [false])
  end

  it "reports mistakes in the section" do
    { "lots" => /history is neither off nor an age; write off, or {size: 100, age: 5m}/, { size: 0 } => /history.size is not a valid number/,
      { rooms: [] } => /history.rooms is not a mapping/, { rooms: { a: 1 } } => /history.rooms.a is neither off nor an age/ }.each do |history, text|
      expect { configure(history: history) && NoDevent::Emitter.publisher }
        .to raise_error(NoDevent::ConfigurationError, text)
    end
  end

  it "publishes text that is not a publication unchanged" do
    configure
    NoDevent::Emitter.publisher.publish("/history", "[1]", wait: true)
    expect(listener.next).to eq(["/history", "[1]"])
  end

  it "is delivered by the real server on the same Redis" do
    configure
    emit("before", wait: true)
    real = NodeventServer.new({ "/history" => { "redis" => { "port" => server.port } } })
    client = NoDevent::Doctor::PollingClient.new(real.url, "/history", origin: real.url)
    expect(client.join(room)).to eq([nil, true])
    emit("after", wait: true)
    expect(client.publication).to include("message" => "after", "position" => /\A\h{16}:2\z/)
  ensure
    client&.close
    real&.stop
  end
end
