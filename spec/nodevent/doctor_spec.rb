# frozen_string_literal: true

require "nodevent/doctor"

RSpec.describe NoDevent::Doctor do
  let(:secret) { "a-long-and-random-secret-42" }
  let(:other) { "another-long-random-secret-43" }

  def with_server(namespaces)
    server = NodeventServer.new(namespaces)
    yield server
  ensure
    server&.stop
  end

  def configure(server, **settings)
    NoDevent::Emitter.config = { public_url: server.url }.merge(settings)
  end

  def findings(**options)
    described_class.examine(**options).map { |finding| [finding.level, finding.message] }
  end

  # The failed check. Every warning and failure has a hint.
  def failure(**options)
    findings = described_class.examine(**options).reject { |finding| finding.level == :ok }
    expect(findings.map(&:hint)).to all(be_a(String))
    findings.find { |finding| finding.level == :fail }
  end

  it "reports success if a message arrives" do
    with_server("/nodevent" => { "secret" => secret }) do |server|
      configure(server, secret: secret)
      expect(findings).to eq(
        ["the configuration is set in Ruby, or the default: namespace /nodevent, server #{server.url}",
         "the server responds at #{server.url}", "the clocks agree", "the server has the namespace /nodevent",
         "pages of http://127.0.0.1 can connect", "the secrets match",
         "a message published through #{server.url} arrived through the server"].map { |text| [:ok, text] }
      )
      out = StringIO.new
      expect(described_class.report(out: out)).to be(true)
      expect(out.string).to include("ok   the secrets match\n")
      expect(out.string).not_to include(secret)
    end
  end

  it "says whether pages use the application's own address, and tries it" do
    Dir.mktmpdir do |folder|
      NoDevent::Server.at = "/nodevent"
      path = File.join(folder, "nodevent.sock")
      allow(NoDevent::Configuration).to receive(:root).and_return(folder)
      server = NodeventServer.new({ "handover_socket" => path, "/nodevent" => { "open" => true } })
      configure(server, open: true)
      last = -> { described_class.examine.last.to_s }
      expect(last.call).to match(/warn the server is mounted at .*, but pages .* no Unix socket is known\n     → write/)
      configure(server, open: true, handover_socket: path)
      expect(last.call).to eq("ok   pages use the application's own address: the server is mounted at /nodevent, and takes " \
                              "connections over through #{path}")
      configure(server, open: true, handover_socket: "#{path}.other")
      expect(last.call).to match(/FAIL the server is mounted at .* cannot be reached: .*No such file.*\n     → start it/)
    ensure
      server&.stop
    end
  ensure
    NoDevent::Server.at = nil
    NoDevent::Server.forget
  end

  it "reports that the server cannot be reached" do
    NoDevent::Emitter.config = { public_url: "http://127.0.0.1:#{Ports.free}" }
    expect(failure.to_s).to match(/FAIL the server at .* cannot be reached: .*\n     → start it with `nodevent`/)
  end

  it "reports a namespace that the server does not have" do
    with_server("/other" => {}) do |server|
      configure(server)
      expect(failure.message).to eq("the server has no namespace /nodevent (404)")
    end
  end

  it "reports different secrets, without sending one" do
    with_server("/nodevent" => { "secret" => secret }) do |server|
      configure(server, secret: other)
      expect(failure.to_s).to include("rejects this application's keys: Bad key\n     → the secrets differ")
      configure(server)
      expect(failure.message).to include("the server requires keys (Must provide key), but this application has no")
    end
    with_server("/nodevent" => {}) do |server|
      configure(server, secret: secret)
      expect(failure.message).to include("the server admits clients without a key")
      configure(server)
      expect(findings).to include([:warn, "/nodevent has no secret: any client can join any room"])
    end
  end

  describe "where tokens are configured" do
    let(:token) { { secret: "a-secret-for-tokens-of-32-bytes-or-more" } }
    let(:server_token) { { "secret" => token[:secret] } }

    it "sends the server a token, and a key to a room if tokens are keys" do
      [{ "secret" => secret }, {}].each do |keys|
        [false, true].each do |required|
          with_server("/nodevent" => keys.merge("token" => server_token.merge("required" => required))) do |server|
            configure(server, token: token, **keys.transform_keys(&:to_sym))
            messages = findings.map { |level, message| level == :ok ? message : raise(message) }
            expect(messages[4..6]).to eq(["pages of http://127.0.0.1 can connect#{', with a token' if required}",
                                          "the server accepts this application's tokens", "the secrets match"])
          end
        end
      end
    end

    it "reports different secrets, and a server without one" do
      with_server("/nodevent" => { "secret" => secret, "token" => server_token.merge("required" => true) }) do |server|
        configure(server, secret: secret, token: { secret: "another-secret-of-thirty-two-bytes-at-least" })
        expect(failure.to_s).to include("rejects this application's tokens: Bad token signature\n     → the secrets differ")
        configure(server, secret: secret)
        expect(failure.message).to include("does not admit clients without a token, and this application has no secret")
      end
      with_server("/nodevent" => { "secret" => secret }) do |server|
        configure(server, secret: secret, token: token)
        expect(failure.message).to include("the server at #{server.url} admits clients with any token")
      end
    end
  end

  it "reports that a page's origin is refused" do
    with_server("/nodevent" => {}) do |server|
      configure(server)
      expect(failure(origin: "https://www.example.com").to_s)
        .to match(/pages of https:..www.example.com cannot connect \(403.*\)\n     → add it to the server's `origins:/)
    end
  end

  it "reports that the server uses another Redis" do
    with_server("/nodevent" => {}) do |server|
      configure(server, redis: { port: RedisServer.shared.port })
      expect(failure.to_s).to include("the server did not deliver it\n     → configure the same Redis")
    end
  end

  it "reports that publishing is rejected" do
    with_server("/nodevent" => { "publish_key" => "publish-me-quietly-1" }) do |server|
      configure(server, publish_key: "wrong")
      expect(failure.to_s).to match(/publishing through http.* failed: .* returned 401.*\n     → .*`publish_key:`/)
    end
  end

  it "reports that Redis is unavailable, or that a custom publisher fails" do
    with_server("/nodevent" => {}) do |server|
      configure(server, redis: { port: Ports.free }, publisher: { timeout: 0.3 })
      expect(failure.to_s).to match(/publishing through redis:.* failed: no response.*\n     → start it, or correct/)
      configure(server)
      [IOError, NoMethodError].each do |error|
        own = Object.new
        own.define_singleton_method(:publish) { |*| raise error, "gone" }
        NoDevent::Emitter.publisher = own
        expect(failure.to_s).to match(/publishing through Object failed: .*\n     → fix the application's custom/)
      end
    end
  end

  it "reports clocks that differ, and responses without a Date header" do
    stub = StubServer.new { |request| request.path == "/healthz" ? [200, "ok"] : [404, "no"] }
    NoDevent::Emitter.config = { public_url: stub.url }
    expect(findings).to include([:warn, "the server's responses have no Date header"])
    now = Time.at(1_800_000_000)
    messages = [60, -60, 4].map do |seconds|
      described_class::Clocks.compare((now + seconds).httpdate, now: now).message
    end
    expect(messages).to eq(["the server's clock is 60 s ahead of this machine's, so keys expire too early",
                            "the server's clock is 60 s behind this machine's, so keys expire too late",
                            "the clocks agree"])
    expect(described_class::Clocks.compare("yesterday").message).to include("cannot parse")
  ensure
    stub.stop
  end

  it "reports an invalid configuration" do
    allow(NoDevent::Emitter).to receive(:config).and_raise(NoDevent::ConfigurationError, "f.yml:1: x")
    expect(failure.to_s.lines(chomp: true)).to eq(["FAIL the configuration is invalid: f.yml:1: x",
                                                   "     → fix it; `nodevent check FILE` lists all mistakes of a file"])
  end

  it "is a rake task" do
    with_server("/nodevent" => {}) do |server|
      file = Tempfile.new(["nodevent", ".yml"])
      file.write("public_url: #{server.url}\n")
      file.close
      rake = lambda do |env|
        environment = Children::CLEAN.merge("NODEVENT_CONFIG" => file.path, "RUBYLIB" => "#{ROOT}/lib")
        Open3.capture2e(environment.merge(env), "rake", "-f",
                        "#{ROOT}/lib/tasks/nodevent.rake", "nodevent:doctor")
      end
      out, status = rake.call({})
      expect([out, status.success?]).to match([/arrived through the server\n\z/, true])
      out, status = rake.call("ORIGIN" => "https://elsewhere")
      expect(out).to include("pages of https://elsewhere cannot").and include("Events would not arrive")
      expect(status).not_to be_success
    end
  end

  it "examines every configured namespace" do
    server = NodeventServer.new({ "/one" => { "secret" => "a" * 32 }, "/two" => { "secret" => "b" * 32 } })
    Dir.mktmpdir do |folder|
      path = File.join(folder, "nodevent.yml")
      File.write(path, "public_url: #{server.url}\nurl: #{server.url}\n/one: {secret: #{'a' * 32}}\n/two: {secret: #{'x' * 32}}\n")
      NoDevent::Emitter.config = NoDevent::Configuration.load_file(path)
      findings = NoDevent::Doctor.examine
      expect(findings.map(&:to_s).grep(%r{the configuration is .*namespace /(one|two)}).size).to eq(2)
      expect(findings.count { |one| one.message == "the secrets match" }).to eq(1)
      failed = findings.select { |one| one.level == :fail }
      expect(failed.map(&:message)).to contain_exactly(/rejects this application's keys: Bad key/)
    end
  ensure
    server&.stop
  end
end
