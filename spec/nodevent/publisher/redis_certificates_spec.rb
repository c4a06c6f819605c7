# frozen_string_literal: true

require "tmpdir"

# Issue 11, section H: Redis with a private CA that requires client certificates. One file is read by the gem and the
# server; both connect with it, or both report why they do not.
#
# Cases: CA and client certificate; without the client certificate, without the CA, with one that another CA has signed,
# with a key that does not belong to it; `rediss://` with `ssl:`; settings that both reject.
RSpec.describe "Redis with certificates" do
  before(:context) do
    @folder = Dir.mktmpdir
    ca = CertificateAuthority.new(@folder)
    %w[redis client other-key].each { |name| ca.sign(name) }
    CertificateAuthority.new(@folder, "foreign-ca").sign("foreign")
    @port = Ports.free
    @redis = RedisServer.new(port: Ports.free, options: %W[
                               --tls-port #{@port} --tls-auth-clients yes --tls-ca-cert-file #{ca.path('ca.pem')}
                               --tls-cert-file #{ca.path('redis.pem')} --tls-key-file #{ca.path('redis.key')}
                             ])
  end

  after(:context) do
    @redis&.stop
    FileUtils.rm_rf(@folder)
  end

  def write(redis)
    file = File.join(@folder, "nodevent.yml")
    File.write(file, "port: 0\nbind: 127.0.0.1\n/nodevent:\n  open: true\n  redis: #{redis}\n")
    file
  end

  # The gem's result of an `emit`, or its error.
  def emit(file, message)
    ruby(<<~RUBY, env: { "NODEVENT_CONFIG" => file }).strip
      require "nodevent"
      begin
        p NoDevent::Emitter.emit("r", "e", #{message.inspect}, wait: true, timeout: 3)
      rescue NoDevent::Error => e
        puts "\#{e.class}: \#{e.message}"
      end
    RUBY
  end

  def check(file)
    Open3.capture2e(NodeventServer.binary, "check", file)
  end

  ["{host: localhost, port: %d, ssl: {ca: ca.pem, cert: client.pem, key: client.key}}",
   '{url: "rediss://localhost:%d/0", ssl: {ca: ca.pem, cert: client.pem, key: client.key}}'].each do |redis|
    it "connects the gem and the server with #{redis[/\A\{\w+/]}" do
      file = write(format(redis, @port))
      server = NodeventServer.new({}, file: file)
      expect(emit(file, redis)).to match(/\A\d+\z/)
      history = eventually("the publication") do
        response = Net::HTTP.get_response(URI("#{server.url}/api/nodevent/rooms/r/history"))
        response.is_a?(Net::HTTPOK) && JSON.parse(response.body)["publications"]
      end
      expect(history.last["message"]).to eq(redis)
    ensure
      server&.stop
    end
  end

  { "ca: ca.pem" => /certificate|handshake|closed|reset|broken/i,
    "cert: client.pem, key: client.key" => /certificate|UnknownIssuer/i,
    "ca: ca.pem, cert: foreign.pem, key: foreign.key" => /certificate|alert|closed|reset|broken/i }
    .each do |ssl, reason|
    it "is refused, with the reason, by {#{ssl}}" do
      file = write("{host: localhost, port: #{@port}, ssl: {#{ssl}}}")
      expect(emit(file, 1)).to match(/PublishError: no response.*#{reason}/i)
      output, status = check(file)
      expect([status.exitstatus, output]).to match([69, /FAIL.*redis/i])
    end
  end

  it "reports a key that does not belong to the certificate" do
    file = write("{host: localhost, port: #{@port}, ssl: {ca: ca.pem, cert: client.pem, key: other-key.key}}")
    expect(emit(file, 1)).to match(/NoDevent::ConfigurationError: .*client.pem/)
    output, status = check(file)
    expect([status.exitstatus, output]).to match([be_between(64, 69), /client.pem/])
  end

  # Nothing is ignored: what would weaken or change the connection is an error of both.
  ["ssl_params: {verify_mode: 0}", "ssl: {verify: none}", "verify: none", "verify_mode: none", "ca_file: ca.pem",
   "path: /run/redis.sock", "ssl: {ca: nowhere.pem}", "ssl: {cert: client.pem}"].each do |setting|
    it "rejects `#{setting}` in the gem and in the server" do
      file = write("{host: localhost, port: #{@port}, #{setting}}")
      expect(emit(file, 1)).to match(/NoDevent::ConfigurationError: .*nodevent.yml:5/)
      output, status = check(file)
      expect([status.exitstatus, output]).to match([64, /nodevent.yml:5/])
    end
  end
end
