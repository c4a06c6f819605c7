# frozen_string_literal: true

require "rack"
require "rack/mock"

# The page chooses room and namespace; the block of NoDevent.authorize decides about both.
#
# Cases: blocks with no, two, three, optional and any number of parameters, and a method; the default namespace by its
# name, another one, none; a block that changes the name it was given. `defaults_spec.rb` tests the endpoint in Rails.
RSpec.describe NoDevent::KeyEndpoint, :native do
  before do
    NoDevent::Emitter.config = { "/nodevent" => { secret: "secret-of-nodevent" }, "/board" => { secret: "secret-of-board" } }
  end

  after { described_class.configure(NoDevent::HOUR, nil) }

  def post(query = "", room: "Post_1")
    env = Rack::MockRequest.env_for("http://app.test/nodevent/key", method: "POST", input: JSON.generate(room: room))
    env["QUERY_STRING"] = query.delete_prefix("?")
    status, _, body = described_class.call(env)
    [status, JSON.parse(body.join)]
  end

  def valid?(namespace, key, room: "Post_1")
    now = (Time.now.to_f * 1000).to_i
    NoDevent::Native.verify([namespace, room, key.to_s], ["secret-of-#{namespace[1..]}"], now, nil, false).is_a?(Integer)
  end

  def three_parameters(_room, _request, namespace)
    namespace == "/board"
  end

  it "passes the namespace to a block that takes three parameters" do
    seen = []
    NoDevent.authorize { |room, request, namespace| (seen << [room, request.post?, namespace]) && namespace == "/board" }
    status, board = post("?namespace=%2Fboard")
    expect([status, valid?("/board", board["key"])]).to eq([200, true])
    expect([post.first, post("?namespace=nodevent").first, post("?namespace=%2Fnone").first]).to eq([403, 403, 404])
    expect(seen).to eq([["Post_1", true, "/board"], ["Post_1", true, "/nodevent"], ["Post_1", true, "/nodevent"]])
    expect(@log.string).to eq("")
  end

  it "passes it to optional and splat parameters, and to a method" do
    [proc { |_, _, namespace = nil| namespace == "/board" }, ->(*all) { all.last == "/board" }, method(:three_parameters)]
      .each do |block|
        NoDevent.authorize(&block)
        expect([post("?namespace=%2Fboard").first, post.first]).to eq([200, 403])
      end
  end

  it "signs for the default namespace only if the block takes fewer, and logs once which block to write" do
    [proc { true }, proc { |_room| true }, proc { |_room, _request| true }, ->(_room, _request) { true }].each do |block|
      @log.truncate(0)
      NoDevent.authorize(&block)
      [post, post("?namespace=%2Fnodevent")].each do |status, body|
        expect([status, valid?("/nodevent", body["key"])]).to eq([200, true])
      end
      2.times { expect(post("?namespace=%2Fboard")).to match([403, { "error" => %r{rooms of /board}, "hint" => /NoDevent.authorize/ }]) }
      expect(@log.string.scan("write NoDevent.authorize { |room, request, namespace| … }").size).to eq(1)
    end
  end

  # Bodies, queries and origins that a hostile page or program sends. Each gets one of our errors, never an exception.
  it "responds with an error of 4xx to whatever it receives", stress: false do
    NoDevent.authorize { |room, _| room == "Post_1" }
    bodies = [nil, "", "{}", "[", "[]", "null", "7", '"Post_1"', "[" * 8000, "{\"room\":" * 900, '{"room":null}', '{"room":["Post_1"]}',
              '{"room":{"a":1}}', '{"room":1.5}', '{"room":""}', "{\"room\":#{'9' * 8000}}", '{"room":"\ud800"}', "{\"room\":\"\xff\xfe\"}".b,
              "{\"room\":\"\xe2\x80\xaeFATAL\"}".b, '{"room":"Post_1\u0000"}', '{"room":"\u001b[31mPost_1\n"}', "{\"room\":\"#{'x' * 7000}\"}", "x" * 20_000,
              '{"json_class":"Object","room":1}', '{"room":"Post_1","room":"Post_2"}']
    bodies.each do |body|
      env = Rack::MockRequest.env_for("http://app.test/nodevent/key", method: "POST", input: body.to_s)
      env.delete("rack.input") if body.nil?
      status, _, response = described_class.call(env)
      expect(status).to be_between(400, 499), body.to_s[0, 60]
      expect(JSON.parse(response.join)).to match("error" => String, "hint" => String)
      expect(response.join.bytesize).to be < 2000
    end
    ["?namespace=%00", "?namespace=%1B%5B31m", "?namespace=#{'a' * 5000}", "?namespace=%ff", "?namespace=%", "?ü=1", "?namespace=a&namespace[b]=c", "?namespace=a&namespace=nodevent"].each do |query|
      expect(post(query).first).to eq(query == "?ü=1" ? 400 : 404), query
    end
    ["?namespace[]=/board", "?namespace[a]=/board", "?%ff=%ff", "?a[b]=c&a=1"].each { |query| expect(post(query).first).to eq(200), query }
    ["null", "http://evil.test", "http://app.test@evil.test", "http://evil.test/app.test", "http://app.test.evil.test", "app.test", "http://app.test\nx", "file://", "http://[::1"].each do |origin|
      env = Rack::MockRequest.env_for("http://app.test/nodevent/key", method: "POST", input: '{"room":"Post_1"}', "HTTP_ORIGIN" => origin)
      expect(described_class.call(env).first).to eq(403), origin
    end
    expect(post.first).to eq(200)
  end

  it "signs the name that the block has checked, which the block cannot change" do
    NoDevent.authorize { |room| room.replace("Post_2") }
    expect { post }.to raise_error(FrozenError)
    given = nil
    NoDevent.authorize { |room, _, namespace| given = [room.frozen?, namespace.frozen?] }
    expect([valid?("/nodevent", post.last["key"]), given]).to eq([true, [true, true]])
  end
end
