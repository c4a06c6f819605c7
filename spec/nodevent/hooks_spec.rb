# frozen_string_literal: true

require "json"
require "stringio"

RSpec.describe NoDevent::Hooks do
  let(:secret) { "a-secret-for-hooks-of-more-than-32-bytes" }
  let(:settings) { { "hooks" => { "url" => "http://localhost:3000/nodevent/hooks", "secret" => secret } } }
  let(:left) { { "id" => "1-0", "type" => "left", "at" => 1_798_761_600_500, "room" => "r", "user" => "7", "count" => 2 } }
  let(:paid) do
    { "id" => "2-0", "type" => "delivered", "at" => 1_798_761_600_500, "room" => "Order_7",
      "publication" => { "room" => "Order_7", "event" => "order_paid", "message" => { "total" => 3 } } }
  end

  before { NoDevent::Emitter.config = settings }
  after { described_class.clear }

  # Sends events as the server does. Returns the status.
  def deliver(*events, namespace: "/nodevent", by: secret, at: Time.now.to_i, **env)
    body = JSON.generate(namespace: namespace, events: events)
    signature = described_class.sign(by, at, body)
    described_class.call({ "REQUEST_METHOD" => "POST", "HTTP_X_NODEVENT_SIGNATURE" => signature,
                           "rack.input" => StringIO.new(body) }.merge(env.transform_keys(&:to_s))).first
  end

  it "signs as the server does" do
    vectors = JSON.parse(File.read("protocol/vectors/hooks.json"))["signatures"]
    vectors.each do |vector|
      signature = described_class.sign(vector["secret"], vector["seconds"], vector["body"])
      expect(signature).to eq(vector["signature"])
    end
  end

  it "calls the handlers of an event in their order" do
    seen = []
    NoDevent.on(:left) { |event| seen << [:first, event.user, event.room, event.count, event.id] }
    NoDevent.on(:left) { |event| seen << [:second, event.at, event.namespace, event.info] }
    NoDevent.on(:entered) { seen << :other }
    expect(deliver(left)).to eq(204)
    expect(seen).to eq([[:first, "7", "r", 2, "1-0"], [:second, Time.at(1_798_761_600.5), "/nodevent", nil]])
  end

  it "selects publications by their names" do
    seen = []
    NoDevent.on(:delivered, :order_paid) { |event| seen << event.message }
    NoDevent.on(:delivered, "order_sent") { seen << :sent }
    NoDevent.on(:delivered) { |event| seen << event.event }
    deliver(paid)
    expect(seen).to eq([{ "total" => 3 }, "order_paid"])
  end

  it "hands events to jobs, which can read them again" do
    job = Class.new do
      class << self
        attr_accessor :performed

        def perform_later(hash) = (self.performed = hash)
      end
    end
    NoDevent.on(:delivered, job: job)
    deliver(paid)
    event = NoDevent::HookEvent.from(JSON.parse(JSON.generate(job.performed)))
    expect([event.type, event.room, event.message]).to eq([:delivered, "Order_7", { "total" => 3 }])
  end

  it "raises what a handler raises, so that the server sends the event again" do
    NoDevent.on(:left) { raise "the database does not respond" }
    expect { deliver(left) }.to raise_error("the database does not respond")
  end

  it "rejects requests that the server has not signed, or that are old" do
    called = false
    NoDevent.on(:left) { called = true }
    expect(deliver(left, by: "another-secret-of-more-than-32-bytes!")).to eq(401)
    expect(deliver(left, at: Time.now.to_i - 301)).to eq(401)
    expect(deliver(left, at: Time.now.to_i + 301)).to eq(401)
    expect(deliver(left, HTTP_X_NODEVENT_SIGNATURE: nil)).to eq(401)
    expect(deliver(left, HTTP_X_NODEVENT_SIGNATURE: "t=1,v1=#{'0' * 64}")).to eq(401)
    expect(deliver(left, "rack.input": StringIO.new("{}"))).to eq(401)
    expect(deliver(left, REQUEST_METHOD: "GET")).to eq(405)
    expect(called).to be(false)
  end

  it "does not accept the secret of one namespace for another" do
    NoDevent::Emitter.config = {
      "/a" => { "open" => true, "hooks" => { "secret" => secret } },
      "/b" => { "open" => true, "hooks" => { "secret" => "the-secret-of-b-of-more-than-32-bytes" } }
    }
    seen = []
    NoDevent.on(:left) { |event| seen << event.namespace }
    expect(deliver(left, namespace: "/b")).to eq(401)
    expect(deliver(left, namespace: "/b", by: "the-secret-of-b-of-more-than-32-bytes")).to eq(204)
    expect(seen).to eq(["/b"])
  end

  it "accepts nothing without a secret" do
    NoDevent::Emitter.config = {}
    expect(deliver(left)).to eq(503)
  end

  it "does not print the secret" do
    expect(NoDevent::Emitter.config.inspect).not_to include("a-secret")
  end

  it "names what is wrong with a registration" do
    expect { NoDevent.on(:joined) { nil } }.to raise_error(ArgumentError, /no hook `joined`/)
    expect { NoDevent.on(:left) }.to raise_error(ArgumentError, /needs a block or `job:`/)
    expect { NoDevent.on(:left, "x") { nil } }.to raise_error(ArgumentError, /only :delivered/)
  end
end
