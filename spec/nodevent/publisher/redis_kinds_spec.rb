# frozen_string_literal: true

require "openssl"
require "tmpdir"

# Redis with TLS, Sentinel and Cluster. `native: false` marks examples that use the extension only in a child process,
# which GC stress does not reach.
RSpec.describe NoDevent::Publisher::BackgroundPublisher, :native do
  # Emits in a child process with this environment, and returns the engine's result.
  def emit_to(redis, env: {}, timeout: 8)
    ruby(<<~RUBY, env: env).strip
      require "nodevent"
      NoDevent::Emitter.config = { redis: #{redis.inspect} }
      p NoDevent::Emitter.emit("r", "e", 1, wait: true, timeout: #{timeout})
    RUBY
  end

  def certificate(folder)
    key = OpenSSL::PKey::RSA.new(2048)
    cert = OpenSSL::X509::Certificate.new
    cert.version = 2
    cert.serial = 1
    cert.subject = cert.issuer = OpenSSL::X509::Name.parse("/CN=localhost")
    cert.public_key = key.public_key
    cert.not_before = Time.now - 60
    cert.not_after = Time.now + 3600
    factory = OpenSSL::X509::ExtensionFactory.new(cert, cert)
    cert.add_extension(factory.create_extension("subjectAltName", "DNS:localhost,IP:127.0.0.1"))
    cert.sign(key, OpenSSL::Digest.new("SHA256"))
    %w[key.pem cert.pem].zip([key, cert]).map do |name, item|
      File.join(folder, name).tap { |path| File.write(path, item.to_pem) }
    end
  end

  it "N-80 publishes over TLS, and rejects an untrusted certificate", native: false do
    Dir.mktmpdir do |folder|
      key, cert = certificate(folder)
      port = Ports.free
      server = RedisServer.new(port: Ports.free, options: %W[--tls-port #{port} --tls-cert-file #{cert}
                                                             --tls-key-file #{key} --tls-auth-clients no])
      trusting = { "SSL_CERT_FILE" => cert }
      expect(emit_to({ port: port, tls: true }, env: trusting)).to eq("0")
      expect(emit_to({ url: "rediss://localhost:#{port}/0" }, env: trusting)).to eq("0")
      other = certificate(Dir.mkdir(File.join(folder, "other")).then { File.join(folder, "other") }).last
      expect { emit_to({ port: port, tls: true }, env: { "SSL_CERT_FILE" => other }) }
        .to raise_error(/cannot be reached:.*certificate.*PublishError/mi)
    ensure
      server&.stop
    end
  end

  it "N-80 finds Redis through Sentinel, and follows a failover" do
    Dir.mktmpdir do |folder|
      # In the folder, since each writes what is replicated into a file.
      first = RedisServer.new(options: %W[--dir #{folder} --dbfilename first.rdb])
      second = RedisServer.new(options: %W[--dir #{folder} --dbfilename second.rdb --replicaof 127.0.0.1 #{first.port}])
      sentinel = start_sentinel(folder, first.port)
      eventually("the replica", limit: 20) { first.client.info["connected_slaves"] == "1" }
      NoDevent::Emitter.config = { redis: { sentinel: { name: "main", hosts: ["127.0.0.1:#{sentinel.port}"] } } }
      expect(NoDevent::Emitter.emit("r", "e", 1, wait: true)).to eq(0)
      eventually("sentinel to see the replica", limit: 20) { sentinel.client.info["master0"].to_s.include?("slaves=1") }
      first.kill
      sentinel.client.call("sentinel", "failover", "main") rescue nil # rubocop:disable Style/RescueModifier
      eventually("the failover", limit: 30) { second.client.info["role"] == "master" }
      listener = Listener.new(second, "/nodevent")
      expect(NoDevent::Emitter.emit("r", "e", 2, wait: true, timeout: 20)).to eq(1)
    ensure
      [listener, sentinel, second, first].each { |one| one&.stop }
    end
  end

  # Redis and the sentinels have passwords of their own: neither is shown the other's.
  it "N-80 N-105 authenticates to sentinels with their own password", native: false do
    secured = RedisServer.new(options: %w[--requirepass of-redis])
    Dir.mktmpdir do |folder|
      sentinel = start_sentinel(folder, secured.port, "sentinel auth-pass main of-redis\nrequirepass of-sentinel\n")
      url = "redis-sentinel://127.0.0.1:#{sentinel.port}/3?sentinelServiceName=main"
      whole = { url: url, password: "of-redis", sentinel: { password: "of-sentinel" } }
      expect(emit_to(whole)).to eq("0")
      expect(secured.client(password: "of-redis", db: 3).keys).not_to be_empty
      expect { emit_to(whole.merge(sentinel: {}), timeout: 3) }.to raise_error(/cannot be reached:.*NOAUTH/m)
      expect { emit_to(whole.merge(url: url.sub("main", "other")), timeout: 3) }
        .to raise_error(/cannot be reached:.*PublishError/m)
    ensure
      sentinel&.stop
    end
  ensure
    secured.stop
  end

  it "N-80 publishes to a Cluster", native: false do
    Dir.mktmpdir do |folder|
      port = Ports.free_with_bus
      server = RedisServer.new(port: port, options: %W[--cluster-enabled yes --dir #{folder}
                                                       --cluster-announce-ip 127.0.0.1])
      server.client.call("cluster", "addslots", *0..16_383)
      eventually("the cluster") { server.client.call("cluster", "info").include?("cluster_state:ok") }
      listener = Listener.new(server, "/nodevent")
      expect(emit_to({ cluster: ["127.0.0.1:#{port}"] })).to eq("1")
      expect(emit_to({ url: "redis-cluster://127.0.0.1:#{port}" })).to eq("1")
    ensure
      listener&.stop
      server&.stop
    end
  end

  def start_sentinel(folder, port, more = "")
    file = File.join(folder, "sentinel.conf")
    File.write(file, <<~CONF)
      sentinel monitor main 127.0.0.1 #{port} 1
      sentinel down-after-milliseconds main 500
      sentinel failover-timeout main 2000
      #{more}
    CONF
    RedisSentinel.new(file)
  end
end
