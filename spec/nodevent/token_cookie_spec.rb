# frozen_string_literal: true

require "rack"

RSpec.describe "a token in a cookie" do
  let(:secret) { "a-secret-for-tokens-of-more-than-32-bytes" }
  let(:token) { { "secret" => secret, "cookie" => "nodevent_token" } }

  RSpec::Matchers.define_negated_matcher :exclude, :include

  after { @server&.stop }

  def start(token)
    @server = NodeventServer.new({ "/nodevent" => { "open" => true, "token" => token } })
    NoDevent::Emitter.config = { "token" => token, "url" => @server.url }
  end

  # The cookie of an application, as Rack writes it, and as the browser sends it back.
  def cookie(name, value)
    headers = {}
    Rack::Utils.set_cookie_header!(headers, name, { value: value, httponly: true, same_site: :lax })
    headers.values.first[/\A[^;]+/]
  end

  # Sends a packet, and reads what arrives until it has the reply.
  def exchange(uri, headers, packet, reply)
    Net::HTTP.post(uri, packet, headers)
    received = +""
    until received.match?(reply)
      response = Net::HTTP.get_response(uri, headers)
      raise "status #{response.code}: #{received}" unless response.is_a?(Net::HTTPOK)

      received << response.body
    end
    received
  end

  # What a client receives that enters the namespace with these cookies and no other token, and joins a room if it may.
  def enter(*cookies)
    uri = URI("#{@server.url}/socket.io/?EIO=4&transport=polling")
    headers = { "Cookie" => ["theme=dark", *cookies].join("; ") }
    sid = JSON.parse(Net::HTTP.get(uri, headers).delete_prefix("0"))["sid"]
    uri.query += "&sid=#{sid}"
    received = exchange(uri, headers, "40/nodevent,", %r{4[04]/nodevent,})
    return received if received.include?("44/nodevent,")

    received + exchange(uri, headers, '42/nodevent,1["join",{"room":"lobby"}]', %r{43/nodevent,1})
  end

  it "that the application has signed says who the visitor is" do
    start(token)
    signed = cookie("nodevent_token", NoDevent::Token.issue(7, rooms: "r"))
    expect(enter(signed)).to match(/"identified",\{.*"user":"7"/)
  end

  it "is rejected if another secret has signed it" do
    start(token)
    NoDevent::Emitter.config = { "token" => { "secret" => "another-secret-of-more-than-32-bytes" } }
    expect(enter(cookie("nodevent_token", NoDevent::Token.issue(7)))).to include("44/nodevent,", "Bad token signature")
  end

  it "is not read if its name is not listed, like the session of the application" do
    start(token)
    signed = NoDevent::Token.issue(7)
    expect(enter(cookie("_session", signed), cookie("other", signed))).to include("43/nodevent,1").and exclude("identified")
    @server.stop
    start(token.except("cookie"))
    expect(enter(cookie("nodevent_token", signed))).to include("43/nodevent,1").and exclude("identified")
  end
end
