# frozen_string_literal: true

require "nodevent/doctor"
require "tmpdir"

# Issue 11, section I: the doctor finds each of these prepared mistakes, and reports its cause first.
RSpec.describe "The doctor and prepared mistakes" do
  let(:secret) { "a-long-and-random-secret-42" }
  let(:other) { "another-long-random-secret-43" }
  let(:redis) { RedisServer.shared }

  around { |example| Dir.mktmpdir { |folder| (@folder = folder) && example.run } }
  after { @servers&.each(&:stop) }

  def server(namespaces = { "/nodevent" => { "secret" => secret } })
    NodeventServer.new(namespaces).tap { |one| (@servers ||= []) << one }
  end

  # The first failure, or else the first warning, with this file.
  def first_finding(text, origin: nil)
    path = File.join(@folder, "nodevent.yml")
    File.write(path, text, perm: 0o600)
    NoDevent::Emitter.config = NoDevent::Configuration.load_file(path)
    worst(NoDevent::Doctor.examine(origin: origin))
  rescue NoDevent::ConfigurationError => e
    "FAIL the configuration is invalid: #{e.message}"
  end

  def worst(findings)
    expect(findings.reject { |finding| finding.level == :ok }.map(&:hint)).to all(be_a(String))
    (findings.find { |finding| finding.level == :fail } || findings.find { |finding| finding.level == :warn }).to_s
  end

  def file(url, namespace: "/nodevent: {secret: #{secret}}", more: "")
    "public_url: #{url}\n#{more}#{namespace}\n"
  end

  it "finds nothing where nothing is wrong" do
    expect(first_finding(file(server.url))).to eq("")
    expect(NoDevent::Doctor.examine.map(&:level).uniq).to eq([:ok])
  end

  it "1 the server is not running" do
    expect(first_finding(file("http://127.0.0.1:#{Ports.free}"))).to match(/FAIL the server at .* cannot be reached: /)
  end

  it "2 another service has the port" do
    stub = StubServer.new { [200, "hello"] }
    expect(first_finding(file(stub.url))).to match(/FAIL another service than NoDevent responds at .*\(200 for .healthz\)/)
  ensure
    stub.stop
  end

  it "3 the port of public_url is wrong, but the gem's own url is right" do
    wrong = "http://127.0.0.1:#{Ports.free}"
    expect(first_finding(file(wrong, more: "url: #{server.url}\n")))
      .to match(/FAIL the server cannot be reached at #{wrong}, the address for browsers/)
  end

  it "4 a proxy serves something else at public_url" do
    stub = StubServer.new { [404, "not found"] }
    expect(first_finding(file(stub.url, more: "url: #{server.url}\n"))).to match(/FAIL another service than NoDevent responds/)
  ensure
    stub.stop
  end

  it "5 the server has another namespace" do
    expect(first_finding(file(server("/board" => { "secret" => secret }).url))).to include("FAIL the server has no namespace /nodevent")
  end

  it "6 the secrets differ" do
    expect(first_finding(file(server("/nodevent" => { "secret" => other }).url)))
      .to include("FAIL the server rejects this application's keys: Bad key\n     → the secrets differ")
  end

  it "7 the secret is missing here" do
    expect(first_finding(file(server.url, namespace: "/nodevent: {open: true}")))
      .to include("FAIL the server requires keys (Must provide key), but this application has no secret")
  end

  it "8 the secret is missing on the server" do
    expect(first_finding(file(server("/nodevent" => { "open" => true }).url)))
      .to include("FAIL /nodevent has a secret here, but the server admits clients without a key")
  end

  it "9 the secret is misspelt" do
    expect(first_finding(file(server.url, namespace: "/nodevent: {sceret: #{secret}}")))
      .to match(/FAIL the configuration is invalid: .*:2:13: .nodevent.sceret is unknown; did you mean `secret`/)
  end

  it "10 the origin of the pages is refused" do
    expect(first_finding(file(server.url), origin: "https://www.example.com"))
      .to match(/FAIL pages of https:..www.example.com cannot connect/)
  end

  it "11 the publish key differs" do
    one = server("/nodevent" => { "secret" => secret, "publish_key" => "publish-me-quietly-1" })
    expect(first_finding(file(one.url, namespace: "/nodevent: {secret: #{secret}, publish_key: other-publish-key-22}")))
      .to match(/FAIL publishing through .* failed: .* returned 401.*\n     → .*`publish_key:`/)
  end

  it "12 the publish key is missing here" do
    one = server("/nodevent" => { "secret" => secret, "publish_key" => "publish-me-quietly-1" })
    expect(first_finding(file(one.url))).to match(/FAIL publishing through .* failed: .* returned 401/)
  end

  it "13 the server uses another Redis" do
    expect(first_finding(file(server.url, namespace: "/nodevent: {secret: #{secret}, redis: #{redis.url}}")))
      .to match(/FAIL a message was published through redis:.*, but the server did not deliver it\n     → configure the same Redis/)
  end

  it "14 Redis is not running" do
    NoDevent::Emitter.config = {}
    gone = "/nodevent: {secret: #{secret}, redis: redis://127.0.0.1:#{Ports.free}/0}\npublisher: {timeout: 300ms}"
    expect(first_finding(file(server.url, namespace: gone))).to match(/FAIL publishing through redis:.* failed: no response/)
  end

  it "15 the password of Redis is wrong" do
    secured = RedisServer.new(options: %w[--requirepass sesame])
    wrong = "/nodevent: {secret: #{secret}, redis: 'redis://:wrong@127.0.0.1:#{secured.port}/0'}\npublisher: {timeout: 300ms}"
    expect(first_finding(file(server.url, namespace: wrong)))
      .to match(/FAIL publishing through redis:.* failed: .*(WRONGPASS|invalid).*check redis: username and password/m)
  ensure
    secured.stop
  end

  it "16 the file has a mistake that only the server sees" do
    expect(first_finding(file(server.url, more: "port: eighty\n"))).to match(/FAIL the server rejects .*port is not a valid number/m)
  end

  it "17 the file has an unknown key" do
    expect(first_finding(file(server.url, more: "prot: 8080\n"))).to match(/warn .*unknown key `prot`/)
  end

  it "18 the file is not YAML" do
    expect(first_finding("public_url: [\n")).to match(/FAIL the configuration is invalid: .*nodevent.yml:\d+:\d+/)
  end

  it "19 an environment variable is missing" do
    expect(first_finding(file(server.url, namespace: "/nodevent: {secret: '${NV_SURELY_UNSET}'}")))
      .to match(/requires the environment variable NV_SURELY_UNSET|the environment has no NV_SURELY_UNSET/)
  end

  it "20 there is nothing to publish to" do
    expect(first_finding(file(server.url, more: "url: false\n"))).to match(/FAIL .*nothing to publish to/)
  end

  it "21 publications are recorded, because the process is in test mode" do
    one = server
    NoDevent.test_mode!
    expect(first_finding(file(one.url))).to match(/FAIL publications are recorded and not published/)
  ensure
    NoDevent::Testing.stop
  end

  it "22 the application's own publisher fails" do
    NoDevent::Emitter.publisher = Object.new.tap { |own| own.define_singleton_method(:publish) { |*| raise IOError, "gone" } }
    expect(first_finding(file(server.url))).to match(/FAIL publishing through Object failed: .*gone/)
  end

  it "23 public_url is this machine's in production, or not secure for pages that are" do
    one = server
    before = ENV.fetch("NODEVENT_ENV", nil)
    ENV["NODEVENT_ENV"] = "production"
    expect(first_finding(file(one.url))).to match(/warn `public_url:` is #{one.url}, which other machines cannot reach/)
    ENV["NODEVENT_ENV"] = before
    expect(NoDevent::Doctor.examine(origin: "https://127.0.0.1").map(&:to_s)).to include(/browsers block mixed content/)
  ensure
    ENV["NODEVENT_ENV"] = before
  end
end
