# frozen_string_literal: true

# Issue 11, section H: two applications on one Redis. The server's half is in `server/tests/attacks/shared_redis.rs`.
#
# Cases: databases, prefixes, both; live publications and the history; another secret on the same channel, by an application
# and by a server; the same secret.
RSpec.describe "Two applications on one Redis" do
  let(:redis) { RedisServer.new }

  after { redis.stop }

  # A process of an application that emits one event, and what it logs.
  def emit(settings, message)
    Open3.capture2e(Children::CLEAN, *Children::LIMITED, RbConfig.ruby, "-I#{ROOT}/lib", "-e", <<~RUBY).first
      require "nodevent"
      NoDevent::Emitter.config = #{settings.inspect}
      NoDevent::Emitter.emit("r", "e", #{message.inspect}, wait: true)
      NoDevent.flush
      sleep 0.1
    RUBY
  end

  def history(server)
    JSON.parse(Net::HTTP.get(URI("#{server.url}/api/nodevent/rooms/r/history")))["publications"].map { |one| one["message"] }
  end

  def ready?(server)
    Net::HTTP.get_response(URI("#{server.url}/readyz")).is_a?(Net::HTTPOK)
  end

  [[{}, { "db" => 1 }], [{}, { "prefix" => "shop" }], [{ "db" => 1, "prefix" => "blog" }, { "db" => 1, "prefix" => "shop" }]].each do |pair|
    it "are separate with #{pair.inspect}, in the gem as in the server" do
      settings = pair.map { |one| { "port" => redis.port }.merge(one) }
      servers = settings.map { |one| NodeventServer.new({ "/nodevent" => { "open" => true, "redis" => one } }) }
      servers.each { |server| eventually("the server") { ready?(server) } }
      settings.each_with_index do |one, index|
        expect(emit({ redis: one.transform_keys(&:to_sym), open: true }, "of #{index}")).to eq("")
      end
      servers.each_with_index { |server, index| eventually("the history") { history(server) == ["of #{index}"] } }
    ensure
      servers&.each(&:stop)
    end
  end

  it "are reported if they share a channel with different secrets, and not with the same one" do
    first = { redis: { port: redis.port }, secret: "a-secret-of-one-application" }
    expect(emit(first, 1)).to eq("")
    expect(emit(first, 2)).to eq("")
    expect(emit(first.merge(secret: "another-secret-of-another"), 3))
      .to match(%r{another server or application uses the channel /nodevent of .* with other secrets.*`redis: \{prefix:\}`})
  end
end
