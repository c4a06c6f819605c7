# frozen_string_literal: true

require "stringio"

RSpec.describe NoDevent::Turted do
  password = "IamAllowed2PUSH!!!"
  response = [200, "OK"]

  before { @stub = StubServer.new { response } }
  after { @stub.stop }

  subject(:turted) { described_class.new(url: "#{@stub.url}/push/", password: password) }

  it "sends what TURTED's backends send (T-30)" do
    turted.notify_user("xosofox", "MESSAGE:NEW", { msg: "hi" })
    turted.notify_channel(%w[chat chatlog], :update)
    turted.notify({ users: [42], channels: "chat" }, "e", 0)
    turted.emit("all", { broadcast: true }, [1])
    auth = { "password" => password }
    expect(Array.new(4) { @stub.next.json }).to eq(
      [{ "event" => "MESSAGE:NEW", "targets" => { "users" => ["xosofox"] }, "payload" => { "msg" => "hi" }, "auth" => auth },
       { "event" => "update", "targets" => { "channels" => %w[chat chatlog] }, "payload" => {}, "auth" => auth },
       { "event" => "e", "targets" => { "users" => ["42"], "channels" => ["chat"] }, "payload" => 0, "auth" => auth },
       { "event" => "all", "targets" => { "broadcast" => true }, "payload" => [1], "auth" => auth }]
    )
  end

  it "uses another address and another auth for one event (T-31)" do
    other = StubServer.new { response }
    turted.notify_user("a", "e", 1, url: "#{other.url}/elsewhere/", auth: "text")
    request = other.next
    expect([request.path, request.json["auth"]]).to eq(["/elsewhere/", "text"])
    expect(@stub.requests).to be_empty
  ensure
    other&.stop
  end

  it "raises an error that carries what was not delivered, and not the password (T-31)" do
    rejecting = StubServer.new { [401, "Wrong auth data"] }
    turted = described_class.new(url: "#{rejecting.url}/push/", password: password)
    expect { turted.emit("e", { users: "a" }, { n: 1 }) }.to raise_error(described_class::NotDelivered) { |error|
      expect([error.event, error.targets, error.payload, error.status]).to eq(["e", { "users" => ["a"] }, { n: 1 }, 401])
      expect(error.message).to include("Wrong auth data")
      expect([error.message, error.inspect, error.full_message, turted.inspect].join).not_to include(password)
    }
  ensure
    rejecting&.stop
  end

  it "gives up after its timeout, and if there is no server (T-31)" do
    silent = StubServer.new { sleep }
    turted = described_class.new(url: "#{silent.url}/push/", password: password, timeout: 0.2)
    expect { turted.notify_user("a", "e") }.to raise_error(described_class::NotDelivered, /no response within 0.2 s/)
    silent.stop
    expect { turted.notify_user("a", "e") }.to raise_error(described_class::NotDelivered) { |error|
      expect(error.status).to be_nil
    }
  end

  it "does not take another program's response for a success" do
    page = StubServer.new { [200, "<html>"] }
    turted = described_class.new(url: page.url, password: password)
    expect { turted.notify_user("a", "e") }.to raise_error(described_class::NotDelivered, /responded with 200/)
  ensure
    page&.stop
  end

  it "checks its settings and targets" do
    [{ url: "push", password: password }, { url: "http://me:pw@host/", password: password },
     { url: "http://localhost/", password: "" }, { url: "http://localhost/", password: nil },
     { url: "http://localhost/", password: password, timeout: 0 }].each do |settings|
      expect { described_class.new(**settings) }.to raise_error(NoDevent::ConfigurationError)
    end
    expect { turted.emit("e", "a") }.to raise_error(ArgumentError, /targets: is a Hash/)
    expect { turted.emit("e", { user: "a" }) }.to raise_error(ArgumentError, /unknown keys: user/)
    expect { turted.emit("e", { users: "a" }, Float::NAN) }.to raise_error(NoDevent::EncodingError)
  end

  # What `dispatcher.on("MESSAGE:NEW", …)` was in TURTED.
  it "lets the application observe what was pushed (T-32)" do
    seen = Queue.new
    application = StubServer.new do |request|
      env = { "REQUEST_METHOD" => "POST", "rack.input" => StringIO.new(request.body),
              "HTTP_X_NODEVENT_SIGNATURE" => request.headers["x-nodevent-signature"] }
      [NoDevent::Hooks.call(env).first, ""]
    end
    hooks = { "url" => "#{application.url}/nodevent/hooks", "secret" => "a-secret-for-hooks-of-more-than-32-bytes",
              "delivered" => ["MESSAGE:NEW"] }
    namespace = { "dialect" => "turted", "turted" => { "push" => { "password" => password } }, "hooks" => hooks }
    server = NodeventServer.new({ "/" => namespace })
    NoDevent::Emitter.config = { "/" => namespace }
    NoDevent.on(:delivered, "MESSAGE:NEW") { |event| seen << [event.room, event.user, event.event, event.message] }
    pushes = described_class.new(url: "#{server.url}/push/", password: password)
    pushes.notify_channel("chat", "OTHER", { n: 0 })
    pushes.notify_channel("chat", "MESSAGE:NEW", { n: 1 })
    pushes.notify_user("xosofox", "MESSAGE:NEW", { n: 2 })
    observed = Array.new(2) { Timeout.timeout(Waiting::LIMIT) { seen.pop } }
    expect(observed).to eq([["turted:chat", nil, "MESSAGE:NEW", { "n" => 1 }],
                            [nil, "xosofox", "MESSAGE:NEW", { "n" => 2 }]])
  ensure
    NoDevent::Hooks.clear
    server&.stop
    application&.stop
  end
end
