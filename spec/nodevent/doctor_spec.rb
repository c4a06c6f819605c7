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
    NoDevent::Emitter.config = { host: server.url }.merge(settings)
  end

  def findings(**options)
    described_class.examine(**options).map { |finding| [finding.level, finding.sentence] }
  end

  # The bad finding. None is without a remedy.
  def bad(**options)
    findings = described_class.examine(**options).reject { |finding| finding.level == :good }
    expect(findings.map(&:remedy)).to all(be_a(String))
    findings.find { |finding| finding.level == :bad }
  end

  it "is content where a message comes back" do
    with_server("/nodevent" => { "secret" => secret }) do |server|
      configure(server, secret: secret)
      expect(findings).to eq(
        ["the configuration is Ruby's, or the defaults: namespace /nodevent, server #{server.url}",
         "the server answers at #{server.url}", "the clocks agree", "the server has the namespace /nodevent",
         "pages of http://127.0.0.1 may connect", "the secrets agree",
         "a message published through #{server.url} came back through the server"].map { |text| [:good, text] }
      )
      out = StringIO.new
      expect(described_class.report(out: out)).to be(true)
      expect(out.string).to include("ok  the secrets agree\n")
      expect(out.string).not_to include(secret)
    end
  end

  it "says that the server is not there" do
    NoDevent::Emitter.config = { host: "http://127.0.0.1:#{Ports.free}" }
    expect(bad.to_s).to match(/BAD the server at .* cannot be reached: .*\n    → start it with `nodevent`/)
  end

  it "says that the namespace is another" do
    with_server("/other" => {}) do |server|
      configure(server)
      expect(bad.sentence).to eq("the server has no namespace /nodevent (404)")
    end
  end

  it "says that the secrets differ, without sending one" do
    with_server("/nodevent" => { "secret" => secret }) do |server|
      configure(server, secret: other)
      expect(bad.to_s).to include("refuses this application's keys: Bad key\n    → the secrets differ")
      configure(server)
      expect(bad.sentence).to include("the server wants keys (Must provide key), and there is no secret here")
    end
    with_server("/nodevent" => {}) do |server|
      configure(server, secret: secret)
      expect(bad.sentence).to include("the server lets anybody in without a key")
      configure(server)
      expect(findings).to include([:doubtful, "/nodevent has no secret: anybody may join any room"])
    end
  end

  it "says that a page's origin may not connect" do
    with_server("/nodevent" => {}) do |server|
      configure(server)
      expect(bad(origin: "https://www.example.com").to_s)
        .to match(/pages of https:..www.example.com may not connect \(403.*\)\n    → add it to the server's `origins:/)
    end
  end

  it "says that the server hears another Redis" do
    with_server("/nodevent" => {}) do |server|
      configure(server, redis: { port: RedisServer.shared.port })
      expect(bad.to_s).to include("the server did not deliver it\n    → let the server's /nodevent use the same Redis")
    end
  end

  it "says that publishing is refused" do
    with_server("/nodevent" => { "publish_key" => "publish-me-quietly-1" }) do |server|
      configure(server, publish_key: "wrong")
      expect(bad.to_s).to match(/publishing through http.* failed: .* answered 401.*\n    → .*`publish_key:` agree/)
    end
  end

  it "says that there is no Redis, or that the application's own publisher fails" do
    with_server("/nodevent" => {}) do |server|
      configure(server, redis: { port: Ports.free }, publisher: { timeout: 0.3 })
      expect(bad.to_s).to match(/publishing through redis:.* failed: no answer.*\n    → start it, or correct/)
      configure(server)
      [IOError, NoMethodError].each do |error|
        own = Object.new
        own.define_singleton_method(:publish) { |*| raise error, "gone" }
        NoDevent::Emitter.publisher = own
        expect(bad.to_s).to match(/publishing through Object failed: .*\n    → mend the application's own publisher/)
      end
    end
  end

  it "says that the clocks differ, and what else answers there" do
    desk = FrontDesk.new { |request| request.path == "/healthz" ? [200, "ok"] : [404, "no"] }
    NoDevent::Emitter.config = { host: desk.url }
    expect(findings).to include([:doubtful, "the server does not tell its time"])
    now = Time.at(1_800_000_000)
    said = [60, -60, 4].map { |seconds| described_class::Clocks.compare((now + seconds).httpdate, now: now).sentence }
    expect(said).to eq(["the server's clock is 60 s ahead of this machine's, so keys end too early",
                        "the server's clock is 60 s behind this machine's, so keys end too late", "the clocks agree"])
    expect(described_class::Clocks.compare("yesterday").sentence).to include("cannot be read")
  ensure
    desk.stop
  end

  it "says that the configuration is wrong" do
    allow(NoDevent::Emitter).to receive(:config).and_raise(NoDevent::ConfigurationError, "f.yml:1: x")
    expect(bad.to_s.lines(chomp: true)).to eq(["BAD the configuration cannot be used: f.yml:1: x",
                                               "    → mend that; `nodevent check FILE` tells all mistakes of a file " \
                                               "at once"])
  end

  it "is a rake task" do
    with_server("/nodevent" => {}) do |server|
      file = Tempfile.new(["nodevent", ".yml"])
      file.write("host: #{server.url}\n")
      file.close
      rake = lambda do |env|
        environment = Children::CLEAN.merge("NODEVENT_CONFIG" => file.path, "RUBYLIB" => "#{ROOT}/lib")
        Open3.capture2e(environment.merge(env), "rake", "-f",
                        "#{ROOT}/lib/tasks/nodevent.rake", "nodevent:doctor")
      end
      out, status = rake.call({})
      expect([out, status.success?]).to match([/came back through the server\n\z/, true])
      out, status = rake.call("ORIGIN" => "https://elsewhere")
      expect(out).to include("pages of https://elsewhere may not").and include("A message would not arrive.")
      expect(status).not_to be_success
    end
  end
end
