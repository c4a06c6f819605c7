# frozen_string_literal: true

require "nodevent/doctor"

# Issue 11, section C: a message is a message.
#
# Cases: every option alone, several, mixed with other keywords, with String keys, after a message, for records, classes
# and the emitter; messages around the size limit on HTTP and on Redis with and without history, with a limit of their
# own; rooms, events and messages of every kind, each of which is either received under exactly its name or rejected.
RSpec.describe "A message" do
  let(:recorder) { Recorder.new }

  describe "and options" do
    before { NoDevent::Emitter.publisher = recorder }

    it "are never confused: a call without a message but with an option is ambiguous" do
      [{ timeout: 30 }, { wait: 12 }, { wait: true }, { idempotency_key: "k" },
       { wait: true, timeout: 2 }].each do |options|
        calls = [-> { Doc.new(1).emit("countdown", **options) }, -> { Doc.emit("countdown", **options) },
                 -> { Doc.new(1).nodevent_emit("countdown", **options) },
                 -> { NoDevent::Emitter.emit("r", "countdown", **options) },
                 -> { NoDevent.namespace("/nodevent").emit("r", "countdown", **options) }]
        calls.each { |call| expect(&call).to raise_error(ArgumentError, /\Aambiguous call: write `emit\(.*, \{ /) }
      end
      expect(recorder.published).to be_empty
    end

    it "are explained with the lines to write" do
      expect { Doc.new(1).emit("countdown", timeout: 30) }
        .to raise_error(ArgumentError, 'ambiguous call: write `emit("countdown", { timeout: 30 })` to send this as the ' \
                                       'message, or `emit("countdown", nil, timeout: 30)` to pass options')
      expect { NoDevent::Emitter.emit("queue", "moved", wait: 12) }
        .to raise_error(ArgumentError, 'ambiguous call: write `emit(…, "moved", { wait: 12 })` to send this as the ' \
                                       'message, or `emit(…, "moved", nil, wait: 12)` to pass options')
      expect { NoDevent::Emitter.emit("r", "moved", x: 1, wait: true) }
        .to raise_error(ArgumentError, "unknown keyword: :x; put the message in braces")
      expect { NoDevent::Emitter.emit("r", "moved", 1, namespace: "/x") }
        .to raise_error(ArgumentError, 'unknown keyword: :namespace; write NoDevent.namespace("/x").emit(…), or ' \
                                       'nodevent_namespace "/x" in the class')
    end

    it "are what they look like in every other call" do
      Doc.new(1).emit("e", { timeout: 30 })
      Doc.new(1).emit("e", "timeout" => 30)
      Doc.new(1).emit("e", x: 1, y: 2)
      NoDevent::Emitter.emit("r", "e", { wait: true, timeout: 1 })
      Doc.new(2).emit("e", nil, timeout: 30)
      NoDevent::Emitter.emit("r", "e", "text", wait: true, timeout: 1)
      NoDevent::Emitter.emit("r", "e", **{})
      Doc.new(3).emit("e", **{})
      expect(recorder.published.map { |_, json| JSON.parse(json)["message"] })
        .to eq([{ "timeout" => 30 }, { "timeout" => 30 }, { "x" => 1, "y" => 2 }, { "wait" => true, "timeout" => 1 },
                { "param" => 2 }, "text", nil, { "param" => 3 }])
    end
  end

  describe "that is too large" do
    let(:server) do
      NodeventServer.new({ "limits" => { "send_buffer" => "4MB" },
                           "/nodevent" => { "redis" => { "port" => RedisServer.shared.port } } })
    end

    after { server.stop }

    # A message whose publication has this size.
    def message(bytes)
      "x" * (bytes - '{"room":"r","event":"e","message":""}'.bytesize)
    end

    def emit(bytes, **options)
      NoDevent::Emitter.emit("r", "e", message(bytes), **options)
    end

    it "is rejected where it is emitted, with a specific error, and counted; the largest accepted one is delivered" do
      limit = 1024 * 1024
      [[{ url: server.url }, limit - 64], [{ redis: { port: RedisServer.shared.port } }, limit - 64],
       [{ redis: { port: RedisServer.shared.port }, history: "off" }, limit]].each do |settings, largest|
        NoDevent::Emitter.config = settings
        before = NoDevent.stats
        [{ wait: true }, {}].each do |options|
          expect { emit(largest + 1, **options) }.to raise_error(NoDevent::MessageTooLargeError) do |error|
            expect([error.bytes, error.limit]).to eq([largest + 1, largest])
            expect(error.message).to include('the message of "e" to "r" has').and include("max_publish_size")
          end
        end
        expect { emit(3_000_000) }.to raise_error(NoDevent::Error)
        expect(NoDevent.stats[:rejected] - before[:rejected]).to eq(3)
        expect(NoDevent.stats.except(:rejected, :queued)).to include(before.slice(:dropped, :failed))
        expect(received("r") { emit(largest, wait: true) }["message"].bytesize).to eq(message(largest).bytesize)
      end
    end

    it "follows the limit that the configuration sets for the server" do
      NoDevent::Emitter.config = { url: server.url, limits: { max_publish_size: "1KB" } }
      expect(emit(960, wait: true)).to be_truthy
      expect { emit(961) }.to raise_error(NoDevent::MessageTooLargeError, /961 bytes, more than the limit of 960/)
      NoDevent::Emitter.publisher = recorder
      expect { emit(1025) }.to raise_error(NoDevent::MessageTooLargeError)
      expect { NoDevent::Emitter.config = { limits: { max_publish_size: "lots" } } }
        .to raise_error(NoDevent::ConfigurationError, /limits.max_publish_size is not a valid size; write it like 64KB or 1MB/)
    end

    # What a member of the room receives from the block.
    def received(room)
      client = NoDevent::Doctor::PollingClient.new(server.url, "/nodevent", origin: server.url)
      expect(client.join(room)).to eq([nil, true])
      yield
      client.publication
    ensure
      client&.close
    end
  end

  describe "of any kind" do
    let(:server) { NodeventServer.new({ "/nodevent" => { "redis" => { "port" => RedisServer.shared.port } } }) }
    let(:client) { NoDevent::Doctor::PollingClient.new(server.url, "/nodevent", origin: server.url) }

    after do
      client.close
      server.stop
    end

    ROOMS = ["r", "ü☃", "\u{1f600}", " spaces around ", "new\nline", "nul\0", "quote\"'\\", "a:b,c/d%2F", "<script>", "__proto__",
             "constructor", "1", "-1", "1e3", "null", "true", "\u2028", "\u200b", "x" * 255, "ü" * 127, "[1]", "{}",
             "room", "*", "e\u0301", "\u00e9", "🏳️‍🌈", "ﷺ", "\x7f", :symbol, 42, -7, (2**53) + 1, 2**63, 10**30].freeze
    EVENTS = ["e", "ü", "connect", "disconnect", "error", "join", "leave", "message", "ping", "lost", "joined", "drain", " ",
              "new\nline", "nul\0", "\"", "__proto__", "constructor", "toString", "x" * 5_000, :symbol, "1", "*"].freeze
    MESSAGES = [nil, true, false, 0, -0.0, 1.5, 2**53, 10**30, "", "ü☃\u{1f600}", "\u2028\u0000", "</script>", [], {}, [nil],
                { "" => 1 }, { "__proto__" => 1 }, { 1 => 2, nil => 3 }, Array.new(50) { |n| [n] }, "x" * 100_000,
                { a: { b: { c: [{ d: 1 }] } } }, (1..90).reduce(0) do |nested, _|
                                                   [nested]
                                                 end, "caf\xC3\xA9".b.force_encoding("UTF-8"),
                "latin \xFC".dup.force_encoding("ISO-8859-1"), "utf16".encode("UTF-16LE")].freeze

    # Emits through this engine, and returns what a member of exactly that room receives, or the error's class.
    def round_trip(room, event, message)
      NoDevent::Emitter.emit(room, event, message, wait: true)
      client.publication.values_at("room", "event", "message")
    rescue NoDevent::Error => e
      e.class
    end

    def expected(message)
      JSON.parse([message].to_json).first
    end

    %i[http redis].each do |engine|
      it "is received under exactly its room and event, or rejected with one of our errors (#{engine})" do
        NoDevent::Emitter.config = engine == :http ? { url: server.url } : { redis: { port: RedisServer.shared.port } }
        joined = 0
        ROOMS.each do |room|
          if (joined += 1) % 100 == 0 then raise "too many rooms for one connection" end

          eventually("the join of #{room.inspect}") { client.join(room.to_s).first != "Too many joins" }
          expect([room, round_trip(room, "e", 1)]).to eq([room, [room.to_s, "e", 1]])
        end
        EVENTS.each { |event| expect([event, round_trip("r", event, 1)]).to eq([event, ["r", event.to_s, 1]]) }
        MESSAGES.each { |message| expect(round_trip("r", "e", message)).to eq(["r", "e", expected(message)]) }
      end
    end

    it "is rejected with one of our errors if it cannot be delivered" do
      NoDevent::Emitter.config = { url: server.url }
      client.join("r")
      cyclic = {}.tap { |hash| hash[:self] = hash }
      broken = Object.new.tap { |object| object.define_singleton_method(:to_json) { |*| "no json" } }
      cut = Object.new.tap { |object| object.define_singleton_method(:to_json) { |*| "1}" } }
      { ["", "e", 1] => NoDevent::InvalidRoomError, ["x" * 256, "e", 1] => NoDevent::InvalidRoomError,
        ["\t \n", "e", 1] => NoDevent::InvalidRoomError, ["\xFF", "e", 1] => NoDevent::InvalidRoomError,
        [1.5, "e", 1] => NoDevent::InvalidRoomError, [["r"], "e", 1] => NoDevent::InvalidRoomError,
        ["r", "", 1] => NoDevent::InvalidEventError, ["r", "\xFF", 1] => NoDevent::InvalidEventError,
        ["r", 1, 1] => NoDevent::InvalidEventError, ["r", "e", Float::NAN] => NoDevent::EncodingError,
        ["r", "e", Float::INFINITY] => NoDevent::EncodingError, ["r", "e", "\xFF"] => NoDevent::EncodingError,
        ["r", "e", cyclic] => NoDevent::EncodingError, ["r", "e", broken] => NoDevent::EncodingError,
        ["r", "e", cut] => NoDevent::EncodingError,
        ["r", "e", (1..200).reduce(0) { |nested, _| [nested] }] => NoDevent::EncodingError }.each do |call, error|
        expect([call.inspect[0, 60], round_trip(*call)]).to eq([call.inspect[0, 60], error])
      end
      NoDevent::Emitter.config = { url: server.url, limits: { max_room_name: 10 } }
      expect(round_trip("eleven char", "e", 1)).to eq(NoDevent::InvalidRoomError)
      expect { NoDevent::Emitter.room_key("eleven char", 4_102_444_800) }
        .to raise_error(NoDevent::InvalidRoomError, /longer than 10 bytes.*max_room_name/)
    end
  end

  it "rejects a message that is nested too deeply or contains itself with an error of ours" do
    NoDevent::Emitter.publisher = Recorder.new
    deep = Array.new(150).reduce([]) { |inner, _| [inner] }
    itself = []
    itself << itself
    [deep, { "a" => deep }, itself].each do |message|
      expect { NoDevent::Emitter.emit("r", "e", message) }
        .to raise_error(NoDevent::EncodingError, /nested/)
    end
    expect(NoDevent::Emitter.emit("r", "e", Array.new(90).reduce([]) { |inner, _| [inner] })).to eq(1)
  end
end
