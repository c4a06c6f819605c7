# frozen_string_literal: true

RSpec.describe "NoDevent.connections" do
  secret = "a-secret-for-tokens-of-more-than-32-bytes"
  key = "a-key-for-publishing-0123456789"

  define_method(:start) do |settings|
    @server = NodeventServer.new({ "/nodevent" => { "publish_key" => key, "token" => { "secret" => secret } }.merge(settings) })
    NoDevent::Emitter.config = { "token" => { "secret" => secret }, "publish_key" => key, "url" => @server.url }
  end

  after { @server&.stop }

  # A client over long-polling.
  def connect(user)
    polling = "#{@server.url}/socket.io/?EIO=4&transport=polling"
    sid = Net::HTTP.get(URI(polling))[/"sid":"([^"]+)"/, 1]
    Net::HTTP.post(URI("#{polling}&sid=#{sid}"), "40/nodevent,#{JSON.generate(token: NoDevent::Token.issue(user))}")
    expect(Net::HTTP.get(URI("#{polling}&sid=#{sid}"))).to include("identified")
  end

  it "counts the connections of a user, by server" do
    start("presence" => true)
    expect(NoDevent.connections(7)).to have_attributes(count: 0, any?: false, servers: {})
    2.times { connect(7) }
    connect("a/ü b")
    found = NoDevent.connections(Struct.new(:id).new(7))
    expect(found).to have_attributes(count: 2, any?: true)
    expect(found.servers.values).to eq([2])
    expect(NoDevent.namespace("/nodevent").connections("a/ü b").count).to eq(1)
  end

  it "raises an error that names the reason" do
    start({})
    expect { NoDevent.connections(7) }.to raise_error(NoDevent::ServerError, /404: this namespace has no presence; write `presence: true`/)
    NoDevent::Emitter.config = { "url" => @server.url, "publish_key" => "another-key-0123456789" }
    expect { NoDevent.connections(7) }.to raise_error(NoDevent::ServerError, /refused with 401/)
    NoDevent::Emitter.config = { "url" => "http://127.0.0.1:1" }
    expect { NoDevent.connections(7) }.to raise_error(NoDevent::ServerError, /is unavailable/)
    expect { NoDevent.connections(Object.new) }.to raise_error(ArgumentError, /needs a user whose id/)
    NoDevent::Emitter.config = { "url" => false, "redis" => "redis://127.0.0.1:1" }
    expect { NoDevent.connections(7) }.to raise_error(NoDevent::ConfigurationError, /needs the server's address/)
  end
end
