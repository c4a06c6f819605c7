# frozen_string_literal: true

require "nodevent/testing"
require "set"

# Events for users, several rooms, and all connections (T-15, T-16, T-17, W-19).
RSpec.describe NoDevent::Targets do
  let(:user_class) { Struct.new(:id) }

  before do
    NoDevent::Emitter.config = { namespace: "/nodevent", public_url: "http://localhost:8080" }
    NoDevent::Emitter.publisher = publisher
  end

  after do
    NoDevent::Emitter.publisher = nil
    NoDevent::Emitter.config = nil
  end

  let(:published) { [] }
  let(:publisher) do
    published = self.published
    Class.new { define_method(:publish) { |_, json| published << JSON.parse(json) } }.new
  end

  def to(...)
    NoDevent::Emitter.to(...)
  end

  it "names users, rooms and all connections in one publication" do
    to(users: [user_class.new(42), "43", :"44"], rooms: ["lobby", :bar], broadcast: true).emit("gong", 3)
    expect(published).to eq([{ "users" => %w[42 43 44], "rooms" => %w[lobby bar], "broadcast" => true,
                               "event" => "gong", "message" => 3 }])
  end

  it "takes one or a list, and ignores duplicates" do
    [user_class.new(42), [user_class.new(42)], 42, ["42", 42], Set[42]].each { |users| to(users: users).emit("gong") }
    expect(published.uniq).to eq([{ "users" => ["42"], "event" => "gong", "message" => nil }])
    to(rooms: "lobby").emit("gong", x: 1)
    expect(published.last).to eq("rooms" => ["lobby"], "event" => "gong", "message" => { "x" => 1 })
  end

  it "takes the options of emit" do
    to(broadcast: true).emit("gong", nil, except: "page")
    expect(published.last["except"]).to match(/\A\h{16}\z/)
    expect { to(broadcast: true).emit("gong", 1, users: 2) }.to raise_error(ArgumentError, /users/)
  end

  it "rejects what is not a target, and names it" do
    expect { to }.to raise_error(ArgumentError, /no targets/)
    expect { to(users: [], rooms: [], broadcast: false) }.to raise_error(ArgumentError, /no targets/)
    expect { to(users: [nil]) }.to raise_error(ArgumentError, /NilClass/)
    expect { to(users: user_class.new(nil)) }.to raise_error(ArgumentError, /a publication needs a user/)
    expect { to(users: "a\nb") }.to raise_error(ArgumentError, /control characters/)
    expect { to(users: "x" * 256) }.to raise_error(ArgumentError, /255 bytes/)
    expect { to(users: (0..1000).to_a) }.to raise_error(ArgumentError, /1001 targets/)
    expect { to(rooms: [nil]) }.to raise_error(NoDevent::InvalidRoomError)
    expect { to(rooms: "\u0001user:42") }.to raise_error(NoDevent::InvalidRoomError, /U\+0001/)
    expect(published).to be_empty
  end

  it "is silenced, and recorded in tests" do
    NoDevent.silence { to(users: 42).emit("gong") }
    expect(published).to be_empty
    recorder = NoDevent::Testing::Recorder.new
    NoDevent::Emitter.publisher = recorder
    to(users: 42, rooms: "lobby", broadcast: true).emit("gong", 3)
    expect(recorder.publications.first).to have_attributes(room: nil, users: ["42"], rooms: ["lobby"], broadcast: true)
    expect(recorder.publications.first.to_s).to eq('"gong" to "lobby", "user 42", all connections with 3')
  end
end

# The extension separates the targets, as the server does.
RSpec.describe NoDevent::Targets, :native do
  let(:redis) { RedisServer.shared }
  let(:listener) { Listener.new(redis, "/targets") }
  let(:targets) { { rooms: %w[a b], users: 7, broadcast: true } }

  before do
    listener
    NoDevent::Emitter.config = { namespace: "/targets", redis: { port: redis.port }, history: history }
  end

  after { listener.stop }

  [false, { size: 10 }].each do |history|
    context "over Redis, #{history ? 'with' : 'without'} a history" do
      let(:history) { history }

      it "publishes a copy for each target, which names no other, with one id" do
        NoDevent::Emitter.to(**targets).emit("gong", 3, wait: true)
        NoDevent::Emitter.to(rooms: "a").emit("last", nil, wait: true)
        *copies, last = Array.new(5) { listener.publication }
        expect(copies.map { |copy| copy.slice("user", "users", "room", "rooms", "broadcast") }).to contain_exactly(
          { "user" => "7" }, { "room" => "a" }, { "room" => "b" }, { "broadcast" => true }
        )
        expect(copies.map { |copy| copy.values_at("event", "message") }.uniq).to eq([["gong", 3]])
        expect(copies.map { |copy| copy["publication_id"] }.uniq).to match([/\A\h+\z/])
        expect(copies.map { |copy| copy.key?("position") }.uniq).to eq([history ? true : false])
        expect(last).to include("room" => "a", "event" => "last")
        expect(last).not_to have_key("publication_id")
      end
    end
  end
end
