# frozen_string_literal: true

require "bigdecimal"
require "date"

RSpec.describe NoDevent::RoomKey, :native do
  let(:vectors) { JSON.parse(File.read(File.join(ROOT, "protocol/vectors/keys.json"))) }

  def key(object, expires)
    NoDevent::Emitter.room_key(object, expires)
  end

  # The formula, computed independently.
  def expected(room, timestamp, secret)
    "#{Digest::SHA256.hexdigest("#{room}#{timestamp}#{secret}")}:#{timestamp}"
  end

  before { NoDevent::Emitter.config = { "secret" => "asdf" } }

  it "N-88 follows the formula for a String, a Class and an instance" do
    { "theroom" => "theroom", Admin::User => "Admin::User", Doc.new(12) => "Doc_12" }.each do |object, room|
      expect(key(object, 4_102_444_800)).to eq(expected(room, 4_102_444_800_000, "asdf"))
    end
    expect(key("theroom", 4_102_444_800))
      .to eq("29724deba9ccb9901bbc1ca344f17ce8ce380e45c5997e12f644271eb588cef0:4102444800000")
    expect(key("ünï☃", 4_102_444_800))
      .to eq("7f4dabb21655cd3973bbce21a64873d385d310a8e1d29de124c962f0b63a0350:4102444800000")
  end

  it "N-88 accepts a Time, a DateTime, an Integer, a Float, a numeric String" do
    time = Time.at(4_102_444_800)
    [time, time.to_datetime, 4_102_444_800, 4_102_444_800.0, "4102444800", BigDecimal("4102444800")].each do |expires|
      expect(key("r", expires)).to eq(expected("r", 4_102_444_800_000, "asdf"))
    end
  end

  it "N-89 computes milliseconds as (to_f * 1000).to_i, in 10,000 random times" do
    random = Random.new(2026)
    many(10_000).times do
      time = Time.at(random.rand(1_700_000_000.0..4_000_000_000.0).round(3))
      expect(described_class.timestamp(time)).to eq((time.to_f * 1000).to_i)
    end
  end

  it "N-90 does not require a secret" do
    NoDevent::Emitter.config = {}
    expect(key("r", 4_102_444_800)).to match(/\A\h{64}:4102444800000\z/)
  end

  it "N-91 rejects expiries that are not a time or do not have 13 digits, with a correction" do
    { nil => /give a time/, Object.new => /give a time/, 3600 => /Time.now \+ NoDevent::HOUR/, 0 => /between/,
      999_999_999 => /between/, 10_000_000_000 => /2286-11-20/, 1_700_000_000_000 => /looks like milliseconds/,
      Float::INFINITY => /between/, Float::NAN => /between/, "soon" => /between/, -1 => /between/ }.each do |ends, text|
      expect { key("r", ends) }.to raise_error(NoDevent::InvalidExpiryError, text)
      expect { key("r", ends) }.to raise_error(ArgumentError)
    end
  end

  it "signs with the first of several secrets" do
    NoDevent::Emitter.config = { secrets: [{ id: "new", secret: "one" }, { id: "old", secret: "two" }] }
    expect(key("r", 4_102_444_800)).to eq(expected("r", 4_102_444_800_000, "one"))
  end

  it "N-41 signs the keys of the shared vectors" do
    vectors.fetch("golden").each do |golden|
      expect(NoDevent::Native.sign(golden["room"], golden["ts"], golden["secret"])).to eq(golden["key"])
      next unless (golden["ts"] % 1000).zero?

      NoDevent::Emitter.config = { secret: golden["secret"] }
      expect(key(golden["room"], golden["ts"] / 1000)).to eq(golden["key"])
    end
  end

  it "signs the bound keys of the shared vectors with bound_keys: sign and require" do
    many = "1000000d"
    vectors.fetch("golden_bound").each do |golden|
      secret, namespace, room = golden.values_at("secret", "namespace", "room")
      expect(NoDevent::Native.sign_bound(namespace, room, golden["ts"], secret)).to eq(golden["key"])
      %w[sign require].each do |bound_keys|
        NoDevent::Emitter.config = { namespace => { secret: secret, bound_keys: bound_keys, max_key_lifetime: many } }
        expect(key(room, golden["ts"] / 1000r)).to eq(golden["key"])
      end
      NoDevent::Emitter.config = { namespace => { secret: secret, bound_keys: "accept" } }
      expect(key(room, golden["ts"] / 1000r)).to eq(expected(room, golden["ts"], secret))
    end
  end

  it "rejects a lifetime that the server would reject, and another word for bound_keys" do
    month = 30 * 86_400
    NoDevent::Emitter.config = { secret: "asdf", bound_keys: "sign" }
    expect(key("r", Time.now + month)).to start_with("v2_")
    expect { key("r", Time.now + month + 10) }
      .to raise_error(NoDevent::InvalidExpiryError, /more than 2592000 s; .* raise max_key_lifetime/)
    NoDevent::Emitter.config = { secret: "asdf", max_key_lifetime: "5m" }
    expect(key("r", Time.now + 300)).to match(/\A\h{64}:/)
    expect { key("r", Time.now + 310) }.to raise_error(NoDevent::InvalidExpiryError, /more than 300 s/)
    expect { NoDevent::Emitter.config = { secret: "asdf", bound_keys: "yes" } }
      .to raise_error(NoDevent::ConfigurationError, /bound_keys is not one of its words; write accept, sign or require/)
  end

  it "N-91 rejects the unsignable expiries of the shared vectors" do
    vectors.fetch("unsignable").each do |unsignable|
      expect { key("r", unsignable["ts"] / 1000.0) }.to raise_error(NoDevent::InvalidExpiryError)
    end
  end

  it "verifies the keys of the shared vectors" do
    vectors.fetch("verify").select { |each| each["key"].is_a?(String) }.each do |each|
      names = [each.fetch("namespace", "/nodevent"), each["room"], each["key"]]
      answer = NoDevent::Native.verify(names, each["secrets"], each["now"], each["max_ttl"], each.key?("require_bound"))
      expect([each["name"], answer]).to eq([each["name"], each["expires"] || each["refusal"]])
    end
  end

  it "is verified by the server's code, which rejects the concatenation attack" do
    signed = key("User_12", 4_102_444_800)
    verify = ->(room, key) { NoDevent::Native.verify(["/nodevent", room, key], %w[asdf], 1_700_000_000_000, nil, false) }
    expect(verify.call("User_12", signed)).to eq(4_102_444_800_000)
    expect(verify.call("User_1", signed.sub(":", ":2"))).to eq("Bad time")
    expect(verify.call("User_1", signed)).to eq("Bad key")
  end
end
