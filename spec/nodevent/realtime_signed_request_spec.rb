# frozen_string_literal: true

require "json"
require "rack"
require "rack/mock"

# The requests of the server to the application: only those that it has signed are its own.
RSpec.describe NoDevent::Realtime::SignedRequest do
  secret = "0123456789abcdef0123456789abcdef"
  other = "fedcba9876543210fedcba9876543210"
  id = "b" * 64

  before do
    calls = { "url" => "http://127.0.0.1:3000/base", "secret" => secret, "handlers" => "/nodevent/realtime" }
    NoDevent::Emitter.config = {
      "/live" => { "pages" => { "secret" => secret }, "calls" => calls },
      "/other" => { "open" => true, "calls" => { "url" => "http://127.0.0.1:3000", "secret" => other } }
    }
  end

  after { NoDevent::Realtime.reset! }

  # What Rack gets of a request that the server has signed, or what differs from it.
  def request(**differences)
    parts = { path: "/comments?draft=1", body: "text=hello", method: "POST", cookie: "rack.session=abc", namespace: "/live", connection: "b" * 64,
              by: "0123456789abcdef0123456789abcdef", at: Time.now.to_i }.merge(differences)
    path, body, method, cookie, namespace, connection, by, at = parts.values
    signature = described_class.sign(by, at, [namespace, method, path, connection, cookie, body])
    Rack::MockRequest.env_for(path, method: method, input: body).merge(
      "REQUEST_URI" => path, "HTTP_COOKIE" => cookie, "HTTP_X_NODEVENT_NAMESPACE" => namespace, "HTTP_X_NODEVENT_CONNECTION" => connection,
      "HTTP_X_NODEVENT_SIGNATURE" => signature, "rack.session" => { socket_key: "a" * 64 }
    )
  end

  # What the application sees.
  def seen_by(env)
    seen = nil
    NoDevent::Realtime.new(lambda do |inner|
      request = Rack::Request.new(inner)
      seen = { socket: request.socket?, body: request.body.read, id: NoDevent::Realtime.socket(inner).connection_id,
               connection: inner["HTTP_X_NODEVENT_CONNECTION"], namespace: inner["HTTP_X_NODEVENT_NAMESPACE"] }
      [200, {}, []]
    end).call(env)
    seen
  end

  it "signs as the server does, and has the server's cookies and digests" do
    vectors = JSON.parse(File.read(File.join(ROOT, "protocol/vectors/pages.json")))
    calls = vectors["calls"]
    calls["signatures"].each do |vector|
      parts = [calls["namespace"], *vector.values_at("method", "target", "connection", "cookie", "body")]
      expect(described_class.sign(calls["secret"], vector["seconds"], parts)).to eq(vector["signature"])
    end
    vectors["digests"].each do |vector|
      expect(NoDevent::Realtime::Identity.digest(vector["key"], vector["connection_id"])).to eq(vector["digest"])
    end
    cookies = vectors["cookies"]
    cookies["valid"].each do |vector|
      value = NoDevent::Realtime::KeyCookie.value(cookies["secret"], cookies["namespace"], vector["key"], vector["expires"])
      expect(value).to eq(vector["cookie"])
    end
  end

  it "recognizes a request of the server: P-20" do
    expect(seen_by(request)).to eq(socket: true, body: "text=hello", id: id, connection: id, namespace: "/live")
    get = request(method: "GET", path: "/", body: "", cookie: "").tap { |env| env.delete("HTTP_COOKIE") }
    expect(seen_by(get)).to include(socket: true)
    # Another namespace, whose connections are not pages.
    socket_io = seen_by(request(namespace: "/other", by: other, connection: "opaque"))
    expect(socket_io).to match(a_hash_including(socket: true, connection: "opaque", id: /\A\h{64}\z/))
  end

  it "recognizes nothing that differs in any part, and deletes what it claims: P-37" do
    changes = {
      "HTTP_COOKIE" => "rack.session=abd", "REQUEST_METHOD" => "PUT", "REQUEST_URI" => "/comments?draft=2",
      "HTTP_X_NODEVENT_CONNECTION" => "c" * 64, "HTTP_X_NODEVENT_NAMESPACE" => "/other", "rack.input" => StringIO.new("text=hullo"),
      "HTTP_X_NODEVENT_SIGNATURE" => "t=#{Time.now.to_i},v1=#{'0' * 64}"
    }
    changes.each do |name, value|
      seen = seen_by(request.merge(name => value))
      expect(seen).to include({ socket: false, connection: nil, namespace: nil }), name
    end
    ["", "v1=x", "t=1,v1=x", nil].each do |signature|
      expect(seen_by(request.merge("HTTP_X_NODEVENT_SIGNATURE" => signature))).to include(socket: false)
    end
    expect(seen_by(request(by: other))).to include(socket: false)
    expect([301, -301].map { |age| seen_by(request(at: Time.now.to_i - age))[:socket] }).to eq([false, false])
    expect(seen_by(request(at: Time.now.to_i - 200))).to include(socket: true)
    expect(seen_by(request(namespace: "/nowhere"))).to include(socket: false)
    # What the application reads is the whole body, also without a signature.
    expect(seen_by(request.merge("HTTP_COOKIE" => "x=y"))).to include(body: "text=hello")
  end

  it "does not touch the signature of hooks, which has the same header" do
    env = Rack::MockRequest.env_for("/nodevent/hooks", method: "POST").merge("HTTP_X_NODEVENT_SIGNATURE" => "t=1,v1=#{'0' * 64}")
    described_class.verify(env)
    expect(env).to include("HTTP_X_NODEVENT_SIGNATURE")
  end

  describe "for handlers and hooks" do
    def deliver(body, **options)
      env = request(path: "/base/nodevent/realtime", body: body.is_a?(String) ? body : JSON.generate(body), **options)
      yield env if block_given?
      response = NoDevent::Realtime.new(->(_) { [404, {}, ["the application"]] }).call(env)
      [response[0], response[2].join]
    end

    let(:message) { { type: "message", action: "add", message: { id: 7, action: "add", a: 2 } } }

    it "calls a handler with the message, the session and the reply: P-24" do
      seen = nil
      NoDevent::Realtime.handler(:add) do |message, session, response|
        seen = [message, session[:socket_key], response.dup]
        response[:status] = 201
        response
      end
      expect(deliver(message)).to eq([200, '{"id":7,"status":201}'])
      expect(seen).to eq([{ "id" => 7, "action" => "add", "a" => 2 }, "a" * 64, { id: 7 }])
    end

    it "returns the reply also if the block ends with something else: P-24" do
      NoDevent::Realtime.handler("add") { |_, _, response| response[:body] = "x" }
      expect(deliver(message)).to eq([200, '{"id":7,"body":"x"}'])
    end

    it "says which handler is missing: P-25" do
      expect(deliver(message)).to eq([404, '{"error":"No message handler named add"}'])
    end

    it "lets the application report what a handler raises: P-26" do
      NoDevent::Realtime.handler(:add) { raise "the database does not respond" }
      expect { deliver(message) }.to raise_error("the database does not respond")
    end

    it "runs hooks with the context of the page: P-27" do
      seen = []
      NoDevent::Realtime.on(:join) { seen << [:join, socket.connection_id, session[:socket_key], request.socket?] }
      NoDevent::Realtime.on(:leave) { seen << [:leave, env["HTTP_X_NODEVENT_NAMESPACE"]] }
      expect([deliver({ type: "join" }), deliver({ type: "leave" })]).to eq([[204, ""]] * 2)
      expect(seen).to eq([[:join, id, "a" * 64, true], [:leave, "/live"]])
    end

    it "reads what is not a message without an exception" do
      expect(["", "{", "[]", "1", "{}", '{"type":"x"}'].map { |body| deliver(body).first }).to eq([400] * 6)
      expect(deliver(message, method: "GET").first).to eq(405)
    end

    it "is no path of the application for requests that are not signed, or signed for another path: P-26" do
      NoDevent::Realtime.handler(:add) { raise "called" }
      expect(deliver(message) { |env| env["HTTP_COOKIE"] = "x=y" }).to eq([404, "the application"])
      expect(deliver(message, by: other, namespace: "/other")).to eq([404, "the application"])
      # A web server may have decoded the path of a call.
      decoded = request(path: "/base/nodevent/%72ealtime", body: JSON.generate(message)).merge("PATH_INFO" => "/base/nodevent/realtime")
      expect(NoDevent::Realtime.new(->(_) { [404, {}, []] }).call(decoded).first).to eq(404)
    end
  end
end
