# frozen_string_literal: true

# `notify` straight in Redis: no server needs to run, and a server that runs delivers the message.
RSpec.describe "NoDevent::Emitter.notify over Redis" do
  before(:all) { @redis = RedisServer.new }
  after(:all) { @redis.stop }
  before { @redis.client.flushall }

  def configure(mailbox, **others)
    # No server listens there.
    NoDevent::Emitter.config = { redis: @redis.url, url: "http://127.0.0.1:1", mailbox: mailbox }.merge(others)
  end

  # What a server finds in a mailbox.
  def mailbox(user, settings = { "unknown" => "keep" })
    @settings = { "publish_key" => "a-key-for-publishing", "redis" => @redis.url, "mailbox" => settings,
                  "token" => { "secret" => "a-secret-for-tokens-of-more-than-32-bytes" } }
    @server ||= NodeventServer.new({ "/nodevent" => @settings })
    uri = URI("#{@server.url}/api/nodevent/users/#{user}/mailbox")
    headers = { "Authorization" => "Bearer a-key-for-publishing" }
    response = Waiting.eventually("the mailbox of #{user}") do
      Net::HTTP.get_response(uri, headers).then { |one| one if one.code == "200" }
    end
    JSON.parse(response.body).fetch("messages")
  end

  after { @server&.stop }

  it "stores a message for a record, text, a symbol or a number, and returns its id" do
    configure({ "unknown" => "keep" })
    user = Struct.new(:id).new("r-1")
    ids = [user, "r-1", :"r-1"].map { |one| NoDevent::Emitter.notify(one, :mention, { by: "Ann", n: 1.50 }) }
    expect(ids).to all(match(/\A\d{16}\z/))
    stored = mailbox("r-1")
    expect(stored.map { |message| message["id"] }).to eq(ids)
    expect(stored).to all(include("event" => "mention", "message" => { "by" => "Ann", "n" => 1.5 }))
    expect(stored.first["sent"]).to be_within(60_000).of(Time.now.to_f * 1000)
  end

  it "stores a message for several users, the same key once, and nothing after the time to live" do
    configure({ "unknown" => "keep" })
    ids = NoDevent::Emitter.notify(%w[r-2 r-3 r-2], "e", 1)
    expect([ids[0], ids[1], ids[0]]).to eq(ids)
    expect([mailbox("r-2"), mailbox("r-3")].map { |stored| stored.map { |one| one["id"] } }).to eq([[ids[0]], [ids[1]]])
    expect(NoDevent::Emitter.notify([], "e")).to eq([])
    again = Array.new(2) { NoDevent::Emitter.notify("r-4", "e", 1, key: "k", ttl: 60) }
    expect([again.uniq.size, mailbox("r-4").size]).to eq([1, 1])
    NoDevent::Emitter.notify("r-5", "e", 1, ttl: 0.2)
    Waiting.eventually("the end of the message") { mailbox("r-5").empty? }
  end

  it "keeps the bounds of the configuration" do
    configure({ "unknown" => "keep", "count" => 2, "bytes" => "1KB" }, limits: { max_mailboxes: 2, max_notified_users: 3 })
    3.times { |n| NoDevent::Emitter.notify("b-1", "e", n) }
    expect(mailbox("b-1").map { |one| one["message"] }).to eq([1, 2])
    expect { NoDevent::Emitter.notify("b-1", "e", "x" * 1024) }
      .to raise_error(NoDevent::PublishError, /not stored: the message is larger than 1024 bytes/)
    expect { NoDevent::Emitter.notify(%w[a b c d], "e") }.to raise_error(NoDevent::PublishError, /more than 3 users/)
    expect { NoDevent::Emitter.notify(%w[b-1 b-2 b-3], "e") }
      .to raise_error(NoDevent::PublishError, /no place for another mailbox/)
  end

  it "returns nil for a user who was never connected, and delivers to one who is" do
    configure({ "age" => "1h" })
    expect(NoDevent::Emitter.notify("stranger", "e")).to be_nil
    expect(NoDevent::Emitter.notify(%w[stranger other], "e")).to eq([nil, nil])
    mailbox("7", { "age" => "1h" })
    polling = "#{@server.url}/socket.io/?EIO=4&transport=polling"
    sid = Net::HTTP.get(URI(polling))[/"sid":"([^"]+)"/, 1]
    NoDevent::Emitter.config.then do |config|
      NoDevent::Emitter.config = { "token" => { "secret" => "a-secret-for-tokens-of-more-than-32-bytes" } }
      token = NoDevent::Token.issue(7)
      NoDevent::Emitter.config = config
      Net::HTTP.post(URI("#{polling}&sid=#{sid}"), "40/nodevent,#{JSON.generate(token: token)}\u001e42/nodevent,[\"mailbox\"]")
    end
    Waiting.eventually("the user is known") { NoDevent::Emitter.notify("7", "mention", "hello") }
    received = +""
    Waiting.eventually("the message") { (received << Net::HTTP.get(URI("#{polling}&sid=#{sid}"))).include?("hello") }
  end

  it "raises if the namespace has no mailboxes, or Redis does not confirm" do
    configure(nil)
    expect { NoDevent::Emitter.notify("7", "e") }.to raise_error(NoDevent::ConfigurationError, /no mailboxes; write `mailbox: on`/)
    NoDevent::Emitter.config = { redis: "redis://127.0.0.1:1", mailbox: "on" }
    expect { NoDevent::Emitter.notify("7", "e", nil, timeout: 0.3) }
      .to raise_error(NoDevent::PublishError, /no confirmation from .*send it again with the same `key:`/)
    expect { NoDevent::Emitter.notify("7", "e", 1, ttl: 0) }.to raise_error(ArgumentError, /ttl/)
  end

  it "reads the settings as the server does" do
    read = ->(mailbox) { NoDevent::Configuration.from({ redis: "redis://127.0.0.1:1", mailbox: mailbox }).mailbox }
    expect([read.call(nil), read.call("off")]).to eq([nil, nil])
    expect(read.call("on")).to eq(count: 1000, bytes: 1_048_576, age: 3_600_000, keep_unknown: false,
                                  max_mailboxes: 100_000, max_users: 1000, max_message: 65_536)
    expect(read.call("2h")).to include(age: 7_200_000)
    expect(read.call("count" => 5, "bytes" => "2KB", "age" => 0, "unknown" => "keep"))
      .to include(count: 5, bytes: 2048, age: 0, keep_unknown: true, max_message: 2048)
    { "lots" => /mailbox is neither on, off, nor an age/, { "unknown" => "maybe" } => /mailbox.unknown/,
      { "count" => 0 } => /mailbox.count/ }.each do |mailbox, problem|
      expect { read.call(mailbox) }.to raise_error(NoDevent::ConfigurationError, problem)
    end
  end
end
