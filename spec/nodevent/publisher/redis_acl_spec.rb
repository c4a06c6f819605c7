# frozen_string_literal: true

# Issue 12: the ACL in `docs/server.md` is enough for the gem. The server's half, and what the user may not do, is in
# `server/tests/behaviour/redis_acl.rs`.
RSpec.describe "The ACL of docs/server.md", :native do
  let(:redis) { RedisServer.new }

  before do
    lines = File.readlines(File.join(ROOT, "docs/server.md"), chomp: true).grep(/\AACL SETUSER nodevent/)
    expect(lines.size).to eq(6)
    sharded = redis.client.call("COMMAND", "INFO", "spublish").compact.any?
    lines.each do |line|
      words = line.split.reject { |word| !sharded && word.match?(/\A\+(s(un)?subscribe|spublish)\z/) }
      redis.client.call(*words)
    end
  end

  after { redis.stop }

  it "lets the gem publish with and without a history, compare secrets and read positions" do
    [{}, { history: "off" }, { channel_per_room: true }].each do |more|
      settings = { redis: { port: redis.port, username: "nodevent", password: "open-sesame" }, secret: "x" * 32 }
      NoDevent::Emitter.config = settings.merge(more)
      expect(NoDevent::Emitter.emit("r", "e", 1, wait: true, idempotency_key: "k")).to eq(0)
      next if more[:history]

      allow(NoDevent::RequestStart).to receive(:elapsed).and_return(0.0)
      expect(eventually("a position") { NoDevent::Namespace.default.position("r") }).to match(/\A\h{16}:\d+\z/)
    end
    expect(redis.client.get("nodevent:1:secrets:/nodevent")).to eq(NoDevent::Native.fingerprint("x" * 32))
  end

  it "is explained if it is missing" do
    redis.client.call("ACL", "SETUSER", "nodevent", "-evalsha")
    NoDevent::Emitter.config = { redis: { port: redis.port, username: "nodevent", password: "open-sesame" } }
    expect { NoDevent::Emitter.emit("r", "e", 1, wait: true) }
      .to raise_error(NoDevent::PublishError, /NOPERM.*allow the Redis user to publish on the namespace/)
  end
end
