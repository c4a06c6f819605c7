# frozen_string_literal: true

require "base64"

RSpec.describe NoDevent::Token do
  let(:vectors) { JSON.parse(File.read(File.join(ROOT, "protocol/vectors/tokens.json"))) }
  let(:secret) { "a-secret-for-tokens-of-more-than-32-bytes" }

  def configure(token, **others)
    NoDevent::Emitter.config = { "token" => token }.merge(others.transform_keys(&:to_s))
  end

  # The claims of a token, whose signature is checked independently.
  def claims(token, secret = self.secret)
    header, payload, signature = token.split(".")
    hash = OpenSSL::HMAC.digest("SHA256", secret, "#{header}.#{payload}")
    expect(Base64.urlsafe_decode64(signature)).to eq(hash)
    @header = JSON.parse(Base64.urlsafe_decode64(header))
    JSON.parse(Base64.urlsafe_decode64(payload))
  end

  it "signs the tokens of the vectors" do
    vectors["signed"].each do |vector|
      token = described_class.encode(vector["claims"], vector["secret"], vector["kid"])
      expect(token).to eq(vector["token"])
    end
  end

  it "names the user and expires in 15 minutes" do
    configure({ "secret" => secret })
    claims = claims(described_class.issue(7))
    expect(claims).to include("sub" => "7", "exp" => be_within(2).of(Time.now.to_i + 900))
    expect(claims["ns"]).to eq("/nodevent")
    expect(claims.keys).to eq(%w[sub ns iat exp])
    expect(@header).to eq("alg" => "HS256", "typ" => "JWT")
  end

  it "accepts a record, text, a symbol and a number as the user" do
    configure({ "secret" => secret })
    user = Struct.new(:id)
    { user.new(7) => "7", user.new("a-b") => "a-b", "ann" => "ann", :ann => "ann", 7 => "7", "ü" => "ü" }.each do |given, id|
      expect(claims(described_class.issue(given))["sub"]).to eq(id)
    end
  end

  it "contains rooms by their names, and info" do
    configure({ "secret" => secret })
    claims = claims(described_class.issue(7, rooms: [Doc.new(12), "lobby", Admin::User], info: { name: "Ann", age: nil }))
    expect(claims).to include("rooms" => ["Doc_12", "lobby", "Admin::User"], "info" => { "name" => "Ann", "age" => nil })
    expect(claims(described_class.issue(7, rooms: Doc.new(12)))["rooms"]).to eq(["Doc_12"])
  end

  it "signs with the first secret and its id, for the audience and from the issuer of the configuration" do
    secrets = [{ "id" => "new", "secret" => secret }, { "id" => "old", "secret" => "x" * 40, "until" => "2099-12-31" }]
    configure({ "secrets" => secrets, "aud" => %w[live other], "iss" => "app" })
    expect(claims(described_class.issue(7))).to include("aud" => "live", "iss" => "app")
    expect(@header).to include("kid" => "new")
  end

  it "reads the secret from a file" do
    Dir.mktmpdir do |folder|
      File.write(File.join(folder, "secret"), "#{secret}\n")
      configure({ "secret_file" => File.join(folder, "secret") })
      expect(claims(described_class.issue(7))["sub"]).to eq("7")
    end
  end

  it "uses the secret of another namespace" do
    NoDevent::Emitter.config = { "/a" => { "open" => true }, "/b" => { "token" => { "secret" => secret } } }
    expect(claims(described_class.issue(7, namespace: "/b"))).to include("sub" => "7", "ns" => "/b")
    expect { described_class.issue(7) }.to raise_error(NoDevent::ConfigurationError, %r{/a has no secret that signs tokens})
  end

  it "refuses a lifetime that the server would refuse" do
    configure({ "secret" => secret, "max_lifetime" => "1h" })
    expect { described_class.issue(7, expires: Time.now + 3700) }
      .to raise_error(NoDevent::InvalidExpiryError, /more than 3600 s/)
    expect { described_class.issue(7, expires: Time.now - 1) }.to raise_error(NoDevent::InvalidExpiryError, /expired/)
    expect(claims(described_class.issue(7, expires: Time.now + 3590))["exp"]).to be_an(Integer)
    configure({ "secret" => secret })
    expect { described_class.issue(7, expires: Time.now + 86_500) }.to raise_error(NoDevent::InvalidExpiryError)
  end

  it "refuses what the server would refuse" do
    configure({ "secret" => secret })
    [nil, "", "a\nb", "x" * 256, Object.new, 1.5, [], { id: 1 }].each do |user|
      expect { described_class.issue(user) }.to raise_error(ArgumentError)
    end
    expect { described_class.issue(7, info: "x" * 1023) }.to raise_error(ArgumentError, /1025 bytes/)
    expect(described_class.issue(7, info: "x" * 1022)).to be_a(String)
    expect { described_class.issue(7, rooms: ["x" * 256]) }.to raise_error(NoDevent::InvalidRoomError)
    expect { described_class.issue(7, rooms: [""]) }.to raise_error(NoDevent::InvalidRoomError)
    expect { described_class.issue(7, rooms: Array.new(100) { |i| "#{i}-#{'x' * 90}" }) }
      .to raise_error(ArgumentError, /list fewer rooms/)
  end

  it "needs a secret, and shows none in messages" do
    expect { described_class.issue(7) }.to raise_error(NoDevent::ConfigurationError, /write `token: {secret: …}`/)
    configure({ "public_key_file" => "key.pem" })
    expect { described_class.issue(7) }.to raise_error(NoDevent::ConfigurationError, /no secret that signs/)
    configure({ "secret" => secret })
    config = NoDevent::Emitter.config
    expect(config.inspect + config.token.inspect).not_to include(secret)
    { { "secret" => " #{secret}" } => /white space/, { "secret" => "" } => /empty/,
      { "secrets" => [] } => /token.secrets/, "x" => /not a mapping/ }.each do |token, message|
      expect { configure(token) }.to raise_error(NoDevent::ConfigurationError, message) { |error|
        expect(error.message).not_to include(secret)
      }
    end
  end

  it "opens rooms if the namespace has tokens and no secret" do
    configure({ "secret" => secret })
    expect(claims(NoDevent::Emitter.room_key(Doc.new(12), Time.now + 60))).to include("room" => "Doc_12")
    configure({ "secret" => secret }, secret: "asdf-asdf-asdf-asdf")
    expect(NoDevent::Emitter.room_key("r", Time.now + 60)).to match(/\A\h{64}:\d{13}\z/)
    configure({ "secret" => secret }, open: "true")
    expect(NoDevent::Emitter.room_key("r", Time.now + 60)).to match(/\A\h{64}:\d{13}\z/)
  end

  it "is in the page as a tag" do
    configure({ "secret" => secret })
    view = Class.new { include NoDevent::Helper }.new
    tag = view.nodevent_token_tag(7, rooms: ["lobby"], info: { name: "<b>" }, expires_after: 60)
    token = tag[/\A<meta name="nodevent-token" content="([\w.-]+)">\z/, 1]
    expect(claims(token)).to include("sub" => "7", "rooms" => ["lobby"], "exp" => be_within(2).of(Time.now.to_i + 60))
  end

  it "signs what the server accepts: keys to rooms of a namespace with tokens and without a secret" do
    settings = { "token" => { "secrets" => [{ "id" => "new", "secret" => secret }], "aud" => "live", "iss" => "app" } }
    server = NodeventServer.new({ "/nodevent" => settings })
    NoDevent::Emitter.config = { "/nodevent" => settings }
    status = lambda do |key|
      uri = URI("#{server.url}/api/nodevent/rooms/Doc_12/history")
      Net::HTTP.get_response(uri, { "Authorization" => "Bearer #{key}" }).code
    end
    expect(status.call(NoDevent::Emitter.room_key(Doc.new(12), Time.now + 60))).to eq("200")
    expect(status.call(NoDevent::Emitter.room_key(Doc.new(1), Time.now + 60))).to eq("403")
    expect(status.call(described_class.issue(7, rooms: [Doc.new(12)]))).to eq("403")
  ensure
    server&.stop
  end
end
