# frozen_string_literal: true

RSpec.describe NoDevent::Emitter do
  let(:recorder) { Recorder.new }

  describe ".emit" do
    before { described_class.publisher = recorder }

    it "publishes room, event and message to the namespace, in this order" do
      described_class.emit("lobby", "open", { "by" => "Ada" })
      expect(recorder.published).to eq([["/nodevent", '{"room":"lobby","event":"open","message":{"by":"Ada"}}']])
    end

    it "calls publish with channel and text only, whatever the publisher is" do
      publisher = double("publisher")
      described_class.publisher = publisher
      expect(publisher).to receive(:publish).with("/nodevent", '{"room":"r","event":"e","message":1}').and_return(7)
      expect(described_class.emit("r", "e", 1)).to eq(7)
    end

    it "N-93 sends false and nil unchanged" do
      described_class.emit("r", "e", false)
      described_class.emit("r", "e")
      expect(recorder.published.map(&:last))
        .to eq(['{"room":"r","event":"e","message":false}', '{"room":"r","event":"e","message":null}'])
    end

    it "accepts a message without braces" do
      described_class.emit("r", "moved", x: 1, y: 2)
      expect(recorder.last["message"]).to eq("x" => 1, "y" => 2)
    end

    it "reports missing braces" do
      expect { described_class.emit("r", "moved", x: 1, wait: true) }
        .to raise_error(ArgumentError, "unknown keyword: :x; put the message in braces")
    end

    it "accepts events as String or Symbol only" do
      described_class.emit("r", :sym, 1)
      expect(recorder.last["event"]).to eq("sym")
      [nil, "", 12, :""].each do |event|
        expect { described_class.emit("r", event, 1) }.to raise_error(NoDevent::InvalidEventError)
      end
    end

    it "reports a message that cannot be converted to JSON" do
      expect { described_class.emit("r", "e", Float::NAN) }
        .to raise_error(NoDevent::EncodingError,
                        /cannot convert the message of "e" to "r" to JSON: .*; text must be valid UTF-8/)
      expect { described_class.emit("r", "e", "\xff") }.to raise_error(NoDevent::EncodingError, /as_json/)
      expect do
        described_class.emit("r", "e", 1, 2)
      end.to raise_error(ArgumentError, /pass one message; put several values into an/)
    end
  end

  describe "N-82 emit and its result" do
    let(:server) { RedisServer.shared }
    let(:listener) { Listener.new(server, "/nodevent") }

    before { listener }
    after { listener.stop }

    it "publishes to the namespace and returns $redis's result" do
      $redis = server.client # rubocop:disable Style/GlobalVars
      expect(described_class.emit("r", "e", "m")).to eq(1)
      expect(listener.next).to eq(["/nodevent", '{"room":"r","event":"e","message":"m"}'])
    end

    it "returns the number of receivers with wait: true, natively", :native do
      described_class.config = { redis: { port: server.port }, history: "off" }
      expect(described_class.emit("r", "e", "m", wait: true)).to eq(1)
      expect(described_class.emit("r", "e", "m")).to be(true)
      expect(listener.take(2)).to all(eq('{"room":"r","event":"e","message":"m"}'))
    end

    it "adds only the position, if the room has a history", :native do
      described_class.config = { redis: { port: server.port }, history: { size: 5 } }
      expect(Array.new(7) { described_class.emit("kept", "e", "m", wait: true) }).to all(eq(1))
      texts = listener.take(7)
      expect(texts).to all(match(/\A{"room":"kept","event":"e","message":"m","position":"\h{16}:\d+"}\z/))
      offsets = texts.map { |text| text[/:(\d+)"}\z/, 1].to_i }
      expect(offsets).to eq((offsets.first..offsets.first + 6).to_a)
      expect(server.client.xlen("nodevent:1:{9:/nodevent:4:kept}:log")).to eq(5)
    end
  end

  it "N-76 works with only $redis" do
    listener = Listener.new(RedisServer.shared, "/nodevent")
    ruby(<<~RUBY)
      require "nodevent"
      require "redis"
      $redis = Redis.new(port: #{RedisServer.shared.port})
      abort "no receiver" unless NoDevent::Emitter.emit("lobby", "hello", [1]) == 1
      abort "wrong defaults" unless NoDevent::Emitter.config["host"] == "http://localhost:8080"
    RUBY
    expect(listener.publication).to eq("room" => "lobby", "event" => "hello", "message" => [1])
  ensure
    listener&.stop
  end

  describe ".config=" do
    it "N-77 accepts Strings as keys" do
      described_class.config = { "host" => "http://thehost", "namespace" => "/other", "secret" => "asdf" }
      expect(described_class.config["secret"]).to eq("asdf")
      expect(described_class.config[:host]).to eq("http://thehost")
      described_class.publisher = recorder
      described_class.emit("r", "e", 1)
      expect(recorder.last["channel"]).to eq("/other")
    end

    it "N-78 accepts Symbols as keys, and can be read by either" do
      described_class.config = { host: "http://myawesomesite", namespace: "/other_namespace", secret: "lajf0q98" }
      expect(described_class.config["secret"]).to eq("lajf0q98")
      expect(described_class.config[:host]).to eq("http://myawesomesite")
      expect(described_class.config["namespace"]).to eq("/other_namespace")
    end

    it "N-79 replaces the whole configuration" do
      $redis = recorder # rubocop:disable Style/GlobalVars
      described_class.config = { secret: "s", redis: { port: 1 }, namespace: "/x" }
      described_class.config = { host: "http://h" }
      expect(described_class.config.to_h)
        .to eq("public_url" => "http://h", "host" => "http://h", "namespace" => "/nodevent", "secret" => nil,
               "redis" => nil, "url" => "http://h", "publish_key" => nil)
      expect(described_class.publisher).to be(recorder)
    end

    it "keeps the old configuration if the new one is invalid" do
      described_class.config = { secret: "good" }
      expect { described_class.config = { secret: "" } }.to raise_error(NoDevent::ConfigurationError)
      expect { described_class.config = 12 }.to raise_error(NoDevent::ConfigurationError, /expects a Hash, not an object of the class Integer/)
      expect(described_class.config.secret).to eq("good")
    end

    it "N-103 adds the slash to the namespace everywhere" do
      described_class.config = { namespace: "plain" }
      described_class.publisher = recorder
      described_class.emit("r", "e", 1)
      expect(recorder.last["channel"]).to eq("/plain")
    end
  end

  describe ".publisher" do
    it "N-80 is the native one if redis is configured, else $redis" do
      $redis = recorder # rubocop:disable Style/GlobalVars
      expect(described_class.publisher).to be(recorder)
      described_class.config = { "redis" => { "host" => "localhost", "port" => 6390, "db" => 1 } }
      expect(described_class.publisher).to be_a(NoDevent::Publisher::BackgroundPublisher)
      expect(described_class.publisher.address).to eq("redis://localhost:6390/1")
      expect(described_class.publisher).to be(described_class.publisher)
    end

    it "is the native one over HTTP if url is configured" do
      $redis = recorder # rubocop:disable Style/GlobalVars
      described_class.config = { url: "http://push:8080/" }
      expect(described_class.publisher.address).to eq("http://push:8080")
    end

    it "can be replaced and restored" do
      described_class.publisher = recorder
      expect(described_class.publisher).to be(recorder)
      described_class.publisher = nil
      expect(described_class.publisher).to be_a(NoDevent::Publisher::BackgroundPublisher)
    end
  end
end
