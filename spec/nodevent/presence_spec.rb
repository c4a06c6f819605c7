# frozen_string_literal: true

RSpec.describe "NoDevent.presence" do
  let(:secret) { "a-secret-for-tokens-of-more-than-32-bytes" }
  let(:settings) { { "secret" => "a-secret-for-room-keys", "token" => { "secret" => secret }, "presence" => { "grace" => "0s" } } }

  def start(settings)
    @server = NodeventServer.new({ "/nodevent" => settings, "/plain" => { "open" => true } })
    NoDevent::Emitter.config = settings.slice("secret", "token").merge("url" => @server.url)
  end

  after { @server&.stop }

  # A client over long-polling, which joins the rooms of its token.
  def join(token)
    post = lambda do |sid, body|
      uri = URI("#{@server.url}/socket.io/?EIO=4&transport=polling#{"&sid=#{sid}" if sid}")
      (body ? Net::HTTP.post(uri, body) : Net::HTTP.get_response(uri)).body
    end
    sid = JSON.parse(post.call(nil, nil).delete_prefix("0"))["sid"]
    post.call(sid, "40/nodevent,#{JSON.generate(token: token)}")
    received = +""
    received << post.call(sid, nil) until received.include?("joined")
    sid
  end

  it "lists the members of a room of a record, with their info and connections" do
    start(settings)
    expect(NoDevent.presence(Doc.new(12))).to have_attributes(count: 0, members: [], large?: false, complete?: true)
    2.times { join(NoDevent::Token.issue(7, rooms: Doc.new(12), info: { name: "Ann" })) }
    join(NoDevent::Token.issue(8, rooms: [Doc.new(12), "a/ü b"]))
    presence = NoDevent.presence(Doc.new(12))
    expect(presence.members.sort_by(&:user).map(&:to_a)).to eq([["7", { "name" => "Ann" }, 2], ["8", nil, 1]])
    expect([presence.count, presence.users.sort]).to eq([2, %w[7 8]])
    expect([presence.include?(7), presence.include?(Struct.new(:id).new(8)), presence.include?("9")]).to eq([true, true, false])
    expect(NoDevent.presence("a/ü b").users).to eq(["8"])
    expect(NoDevent.namespace("/nodevent").presence("lobby").count).to eq(0)
  end

  it "raises an error that names the reason" do
    start(settings.except("presence"))
    expect { NoDevent.presence("r") }.to raise_error(NoDevent::ServerError, /404: this room has no presence; enable it with/)
    NoDevent::Emitter.config = { "secret" => "another", "url" => @server.url }
    expect { NoDevent.presence("r") }.to raise_error(NoDevent::ServerError, /refused with 403: Bad key/)
    NoDevent::Emitter.config = { "url" => @server.url, "namespace" => "/plain" }
    expect { NoDevent.presence("r") }.to raise_error(NoDevent::ServerError, /this room has no presence/)
    url = @server.url
    @server.stop
    @server = nil
    NoDevent::Emitter.config = { "url" => url }
    expect { NoDevent.presence("r") }.to raise_error(NoDevent::ServerError, /is unavailable/)
    expect { NoDevent.presence("") }.to raise_error(NoDevent::InvalidRoomError)
  end
end
