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
    env = Rack::MockRequest.env_for("http://app.test/nodevent/key#{query}", method: "POST", input: JSON.generate(room: room))
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

  it "signs the name that the block has checked, which the block cannot change" do
    NoDevent.authorize { |room| room.replace("Post_2") }
    expect { post }.to raise_error(FrozenError)
    given = nil
    NoDevent.authorize { |room, _, namespace| given = [room.frozen?, namespace.frozen?] }
    expect([valid?("/nodevent", post.last["key"]), given]).to eq([true, [true, true]])
  end
end
