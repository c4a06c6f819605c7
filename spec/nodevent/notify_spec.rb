# frozen_string_literal: true

RSpec.describe "NoDevent::Emitter.notify" do
  secret = "a-secret-for-tokens-of-more-than-32-bytes"

  before(:all) do
    settings = { "publish_key" => "a-key-for-publishing", "token" => { "secret" => secret }, "mailbox" => { "unknown" => "keep" } }
    @server = NodeventServer.new({ "/nodevent" => settings })
    @without = NodeventServer.new({ "/nodevent" => settings.merge("mailbox" => { "age" => "1h" }) })
  end

  after(:all) { [@server, @without].each(&:stop) }

  def configure(server = @server, **others)
    NoDevent::Emitter.config = { url: server.url, publish_key: "a-key-for-publishing" }.merge(others)
  end

  def mailbox(user)
    uri = URI("#{@server.url}/api/nodevent/users/#{user}/mailbox")
    response = Net::HTTP.get_response(uri, "Authorization" => "Bearer a-key-for-publishing")
    JSON.parse(response.body).fetch("messages")
  end

  it "stores a message for a record, text, a symbol or a number, and returns its id" do
    configure
    user = Struct.new(:id).new("n-1")
    ids = [user, "n-1", :"n-1"].map { |one| NoDevent::Emitter.notify(one, :mention, { by: "Ann" }) }
    stored = mailbox("n-1")
    expect(stored.map { |message| message["id"] }).to eq(ids)
    expect(stored).to all(include("event" => "mention", "message" => { "by" => "Ann" }))
    expect(NoDevent::Emitter.notify(7, "e")).to match(/\A\d+\z/)
  end

  it "stores a message for several users, in their order" do
    configure
    ids = NoDevent::Emitter.notify(%w[n-2 n-3 n-2], "e", 1)
    expect([ids[0], ids[1], ids[0]]).to eq(ids)
    expect([mailbox("n-2"), mailbox("n-3")].map { |stored| stored.map { |one| one["id"] } }).to eq([[ids[0]], [ids[1]]])
    expect(NoDevent::Emitter.notify([], "e")).to eq([])
  end

  it "stores the same key once, and nothing after the time to live" do
    configure
    ids = Array.new(2) { NoDevent::Emitter.notify("n-4", "e", 1, key: "k", ttl: 0.3) }
    expect(ids.uniq.size).to eq(1)
    sleep 0.4
    expect(mailbox("n-4")).to eq([])
  end

  it "returns nil for a user who was never connected, unless the server keeps messages for all users" do
    configure(@without)
    expect(NoDevent::Emitter.notify("stranger", "e")).to be_nil
    expect(NoDevent::Emitter.notify(%w[stranger other], "e")).to eq([nil, nil])
  end

  it "goes to a custom publisher that accepts it, and through the server otherwise" do
    configure
    NoDevent::Emitter.publisher = Class.new { def publish(*) = true }.new
    expect(NoDevent::Emitter.notify("n-5", "e")).to be_a(String)
    custom = Class.new { def notify(namespace, json) = [[namespace, JSON.parse(json)["users"]]] }.new
    NoDevent::Emitter.publisher = custom
    expect(NoDevent::Emitter.notify(%w[n-5], "e")).to eq([["/nodevent", ["n-5"]]])
  end

  it "sends nothing while silenced" do
    configure
    expect(NoDevent.silence { NoDevent::Emitter.notify("n-6", "e") }).to be_nil
    expect(mailbox("n-6")).to eq([])
  end

  it "rejects what the server would reject, with the reason" do
    configure
    expect { NoDevent::Emitter.notify(nil, "e") }.to raise_error(ArgumentError, /id/)
    expect { NoDevent::Emitter.notify("", "e") }.to raise_error(ArgumentError, /1 to 255 bytes/)
    expect { NoDevent::Emitter.notify("a", "") }.to raise_error(NoDevent::InvalidEventError)
    expect { NoDevent::Emitter.notify("a", "e", 1, ttl: 0) }.to raise_error(ArgumentError, /ttl/)
    expect { NoDevent::Emitter.notify("a", "e", 1, key: "k" * 256) }.to raise_error(ArgumentError, /key/)
    expect { NoDevent::Emitter.notify("a", "e", Float::NAN) }.to raise_error(NoDevent::EncodingError)
    expect { NoDevent::Emitter.notify("a", "e", "x" * 100_000) }.to raise_error(NoDevent::PublishError, /larger than 65536 bytes/)
  end

  it "raises if the server rejects the key or does not respond" do
    configure(publish_key: "another-key")
    expect { NoDevent::Emitter.notify("a", "e") }.to raise_error(NoDevent::PublishError, /status 401/)
    NoDevent::Emitter.config = { url: "http://127.0.0.1:1" }
    expect { NoDevent::Emitter.notify("a", "e") }.to raise_error(NoDevent::PublishError, /send it again with the same `key:`/)
  end
end
