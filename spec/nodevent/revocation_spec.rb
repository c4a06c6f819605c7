# frozen_string_literal: true

RSpec.describe "NoDevent.revoke" do
  before do
    keys = [{ "id" => "all", "key" => "all-rooms-key-0123456789" },
            { "id" => "some", "key" => "some-rooms-key-012345", "rooms" => "r" }]
    token = { "secret" => "a-secret-for-tokens-of-more-than-32-bytes" }
    @server = NodeventServer.new({ "/nodevent" => { "token" => token, "publish_keys" => keys } })
    configure("all-rooms-key-0123456789")
  end

  after do
    NoDevent::Emitter.config = nil
    @server.stop
  end

  def configure(publish_key)
    NoDevent::Emitter.config = { "url" => @server.url, "publish_key" => publish_key,
                                 "token" => { "secret" => "a-secret-for-tokens-of-more-than-32-bytes" } }
  end

  # What the server says about a token in a handshake over long-polling.
  def connect(token)
    polling = "#{@server.url}/socket.io/?EIO=4&transport=polling"
    sid = Net::HTTP.get(URI(polling))[/"sid":"([^"]+)"/, 1]
    Net::HTTP.post(URI("#{polling}&sid=#{sid}"), "40/nodevent,#{JSON.generate(token: token)}")
    Net::HTTP.get(URI("#{polling}&sid=#{sid}"))
  end

  it "rejects older tokens of the user, and no newer and no other ones" do
    old = NoDevent::Token.issue(7)
    other = NoDevent::Token.issue(8)
    expect(connect(old)).to include("identified")
    sleep 0.01
    NoDevent.revoke(user: 7)
    expect(connect(old)).to include("Token has been revoked")
    expect(connect(other)).to include("identified")
    sleep 0.01
    expect(connect(NoDevent::Token.issue(7))).to include("identified")
  end

  it "names rooms and times like the rest of the gem" do
    NoDevent.revoke(room: "r", before: Time.now - 5)
    NoDevent.revoke(user: "7", room: :team, before: Time.now.to_f)
    expect(connect(NoDevent::Token.issue(7))).to include("identified")
  end

  it "raises if nothing was revoked" do
    expect { NoDevent.revoke }.to raise_error(ArgumentError, /needs a user: or a room:/)
    expect { NoDevent.revoke(user: Object.new) }.to raise_error(ArgumentError, /needs a user whose id/)
    [:soon, "2026-11-29 10:00", 300, Float::NAN].each do |before|
      expect { NoDevent.revoke(user: 7, before: before) }.to raise_error(ArgumentError, /before: is a time/)
    end
    expect { NoDevent.revoke(user: 7, before: Time.now + 3600) }
      .to raise_error(NoDevent::RevokeError, /status 400.*in the future/)
    configure("some-rooms-key-012345")
    expect { NoDevent.revoke(user: 7) }.to raise_error(NoDevent::RevokeError, /this publish key may not revoke/)
    configure("another-key-0123456789")
    expect { NoDevent.revoke(user: 7) }.to raise_error(NoDevent::RevokeError, /status 401/)
    @server.stop
    expect { NoDevent.revoke(user: 7) }.to raise_error(NoDevent::RevokeError, /did not revoke/)
    @server.start
  end

  it "does nothing in tests of applications" do
    NoDevent::Emitter.config = { "url" => "http://127.0.0.1:1" }
    NoDevent.test_mode!
    expect(NoDevent.revoke(user: 7)).to be_nil
  ensure
    NoDevent::Testing.stop
  end
end
