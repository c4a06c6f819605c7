# frozen_string_literal: true

require "tmpdir"

RSpec.describe NoDevent::Configuration do
  # The configuration of a file with this text, in this environment.
  def file(text, name: "nodevent.yml", **env)
    Dir.mktmpdir do |folder|
      path = File.join(folder, name)
      File.write(path, text)
      with_env(env) { described_class.load_file(path) }
    end
  end

  def with_env(env)
    before = env.to_h { |name, _| [name.to_s, ENV.fetch(name.to_s, nil)] }
    env.each { |name, value| ENV[name.to_s] = value }
    yield
  ensure
    before.each { |name, value| ENV[name] = value }
  end

  def given(settings)
    described_class.from(settings)
  end

  def mistake(text, **env)
    file(text, **env).to_h
  rescue NoDevent::ConfigurationError => e
    e.message.sub(%r{\A.*/nodevent\.yml(:\d+)?(:\d+)?}, 'nodevent.yml\1')
  else
    raise "this was taken: #{text}"
  end

  it "has a default for every setting" do
    expect(given({}).to_h).to eq("public_url" => "http://localhost:8080",
                                 "host" => "http://localhost:8080", "namespace" => "/nodevent", "secret" => nil,
                                 "redis" => nil, "url" => "http://localhost:8080", "publish_key" => nil)
  end

  it "keeps keys that the gem does not use, as String or Symbol" do
    expect(given("color" => "red")[:color]).to eq("red")
  end

  it "reads the server's file: namespaces are keys with a slash, and the first is the default" do
    config = file(<<~YAML)
      port: 8080
      public_url: https://push.example.com/
      admin: { host: 127.0.0.1, port: 8081 }
      /board:
        secret: long-and-random
        publish_key: 54321
        redis: { host: redis, port: 6380 }
        history: { size: 100 }
      /other: { secret: of-others }
    YAML
    expect(config.to_h).to eq("public_url" => "https://push.example.com",
                              "host" => "https://push.example.com", "namespace" => "/board",
                              "secret" => "long-and-random", "redis" => { "host" => "redis", "port" => "6380" },
                              "url" => "https://push.example.com", "publish_key" => "54321")
  end

  it "uses the namespace that `namespace:` selects, and rejects one that the file does not have" do
    text = "namespace: other\n/board: {secret: a}\n/other: {secret: b}\n"
    expect(file(text).secret).to eq("b")
    expect(mistake("namespace: /else\n/board: {secret: a}\n"))
      .to eq("nodevent.yml:1: namespace is not in the file, which contains only /board")
  end

  it "reads flat keys as the namespace's, and prefers those in its section" do
    config = file("secret: flat\npublish_key: flat-key\n/board: {secret: own}\n")
    expect([config.secret, config.publish_key]).to eq(%w[own flat-key])
  end

  it "uses the first of several secrets" do
    expect(file("/b: {secrets: [{id: new, secret: one}, {id: old, secret: two}]}").secret).to eq("one")
    expect(mistake("/b: {secrets: {id: one}}")).to include("is not a list like [{id: new, secret: …}")
    expect(file("/b: {secrets: [one, two]}").secret).to eq("one")
  end

  it "merges shared and the environment's section, with anchors and merge keys" do
    text = <<~YAML
      shared:
        host: http://shared
        /board: &board { secret: shared, redis: { host: a, port: 1 } }
      development:
        /board: { redis: { port: 2 } }
      production:
        /board: { <<: *board, secret: production }
    YAML
    development = file(text, NODEVENT_ENV: nil, RAILS_ENV: nil, RACK_ENV: nil)
    expect([development.public_url, development.secret, development.redis])
      .to eq(["http://shared", "shared", { "host" => "a", "port" => "2" }])
    expect(file(text, NODEVENT_ENV: nil, RAILS_ENV: "production").secret).to eq("production")
    expect(file(text, NODEVENT_ENV: "production", RAILS_ENV: "development").secret).to eq("production")
    expect(mistake(text, NODEVENT_ENV: "staging"))
      .to end_with("the environment is `staging`, but there are only the sections shared, development, production; " \
                   "add `staging: {}`, or select another with NODEVENT_ENV")
  end

  # Such a file would appear to have no settings, and the application would use the defaults.
  it "rejects a file that has only shared settings, or only another environment's" do
    ["shared", "shared:\n  port: 1\nqa"].each do |sections|
      expect(mistake("#{sections}:\n  /board: {secret: s}\n", NODEVENT_ENV: "test"))
        .to end_with("the environment is `test`, but there is only the section shared; " \
                     "add `test: {}`, or select another with NODEVENT_ENV")
    end
    expect(mistake("shared: {secret: s}\nproduction:\n", NODEVENT_ENV: "production")).to include("is `production`, but")
    expect(file("shared: {secret: s}\nqa: {}\n", NODEVENT_ENV: "qa").secret).to eq("s")
  end

  it "replaces ${NAME} and ${NAME:-default} by environment variables, but only in keys that it uses" do
    text = %(host: http://h:${P:-80}\n/b: {secret: "${S}", redis: {url: "redis://${H}/1"}, auth: "${MISSING}"}\n)
    config = file(text, P: "", S: "s3cret", H: "there")
    expect([config.public_url, config.secret, config.redis["url"]]).to eq(["http://h:80", "s3cret", "redis://there/1"])
    expect(mistake(text, S: nil, H: "x"))
      .to eq("nodevent.yml:2: /b.secret requires the environment variable S; set it, or write ${S:-default}")
  end

  it "does not replace ${NAME} in settings from Ruby" do
    expect(given(secret: "a${B}c").secret).to eq("a${B}c")
  end

  it "reads public_url, and host if it has a scheme" do
    expect(file("host: 0.0.0.0\n").public_url).to eq("http://localhost:8080")
    expect(file("host: //push\n").to_h.values_at("host", "url")).to eq(%w[//push http://push])
    expect(file("host: 0.0.0.0\npublic_url: https://p/\n").public_url).to eq("https://p")
    expect(mistake("public_url: push\n")).to eq("nodevent.yml:1: public_url is not a URL; write it like " \
                                                "https://push.example.com")
  end

  it "reads durations and counts of the publisher" do
    config = given(publisher: { queue: "5", queue_bytes: 1_000, timeout: "250ms", shutdown_timeout: "1m",
                                trace_sample_rate: 0.25 })
    expect(config.publisher.to_h).to eq(queue: 5, queue_bytes: 1_000, timeout: 0.25, shutdown_timeout: 60.0,
                                        trace_sample_rate: 0.25)
    expect(given({}).publisher.trace_sample_rate).to eq(0.0)
  end

  it "reads JSON" do
    expect(file('{"/b": {"secret": "json"}}', name: "nodevent.json").secret).to eq("json")
    expect { file('{"/b": {"secret": }}', name: "nodevent.json") }.to raise_error(NoDevent::ConfigurationError, /json/)
  end

  it "reports file, line and correction of every mistake" do
    { "/b:\n  secret: ''\n" => "nodevent.yml:2: /b.secret is empty; write a value, or remove the key",
      "/b:\n  redis: 12\n" => "nodevent.yml:2: /b.redis is not a Redis URL; write redis://host:6379/0, " \
                              "rediss://… for TLS, redis-sentinel://… or redis-cluster://…",
      "/b: 12\n" => "nodevent.yml:1: /b is text, not a mapping",
      "publisher:\n  queue: 0\n" => "nodevent.yml:2: publisher.queue is not a valid number; write a positive whole number",
      "publisher: {timeout: soon}\n" => "nodevent.yml:1: publisher.timeout is not a valid duration; write it like 5s or 250ms",
      "publisher: {qeue: 1}\n" => "nodevent.yml:1: publisher.qeue is unknown; known keys are queue, queue_bytes, " \
                                  "timeout, shutdown_timeout, trace_sample_rate",
      "publisher: {trace_sample_rate: 2}\n" => "nodevent.yml:1: publisher.trace_sample_rate is not a share; write a " \
                                               "number from 0 to 1, like 0.01",
      "- a\n" => "nodevent.yml:1: is a list, not a mapping of keys to values",
      "a: <%= 1 %>\n" => "nodevent.yml:1: ERB is not supported, because the server cannot evaluate it; " \
                         "write \"${NAME}\" or " \
                         "\"${NAME:-default}\"" }.each do |text, message|
      expect(mistake(text)).to eq(message)
    end
    expect { file("a: [\nb: c\n") }.to raise_error(NoDevent::ConfigurationError, /nodevent\.yml:\d+:\d+: /)
    expect { described_class.load_file("/nowhere/n.yml") }
      .to raise_error(NoDevent::ConfigurationError, "/nowhere/n.yml: cannot be read: No such file or directory")
  end

  it "rejects an invalid Redis address" do
    { { url: "http://h" } => /redis.url is not a Redis URL/, { port: 0 } => /redis.port is not a valid number/,
      { db: "x" } => /redis.db is not a valid number/, { sentinel: {} } => /redis.sentinel has no hosts/ }.each do |redis, text|
      expect { NoDevent::Emitter.config = { redis: redis } }
        .to raise_error(NoDevent::ConfigurationError, text)
    end
  end

  it "is in config/nodevent.yml, or in the file that NODEVENT_CONFIG names" do
    Dir.mktmpdir do |folder|
      FileUtils.mkdir_p(File.join(folder, "config"))
      File.write(File.join(folder, "config/nodevent.yml"), "namespace: from-the-root\n")
      File.write(File.join(folder, "other.yml"), "namespace: from-the-environment\n")
      script = 'require "nodevent"; Dir.chdir(ARGV[0]); puts NoDevent::Emitter.config.namespace'
      root = Open3.capture2({ "NODEVENT_CONFIG" => nil }, RbConfig.ruby, "-I#{ROOT}/lib", "-e", script, folder).first
      named = Open3.capture2({ "NODEVENT_CONFIG" => "#{folder}/other.yml" }, RbConfig.ruby, "-I#{ROOT}/lib", "-e",
                             script, folder).first
      expect([root, named]).to eq(["/from-the-root\n", "/from-the-environment\n"])
    end
  end

  it "has the same meaning for the server" do
    server = NodeventServer.new({ "namespace" => "flat", "publish_key" => "flat-publish-key" })
    NoDevent::Emitter.config = { public_url: server.url, namespace: "flat", publish_key: "flat-publish-key" }
    expect(NoDevent::Emitter.emit("r", "e", 1, wait: true)).to be_truthy
  ensure
    server&.stop
  end

  it "reads secrets and publish keys from files, as the server does" do
    Dir.mktmpdir do |folder|
      File.write(File.join(folder, "secret"), "from a file\n")
      File.write(File.join(folder, "lines"), "a\nb\n")
      load = lambda do |text|
        File.write(File.join(folder, "c.yml"), text)
        described_class.load_file(File.join(folder, "c.yml"))
      end
      config = load.call("/a: {secret_file: secret, publish_key_file: secret}\n")
      expect([config.secret, config.publish_key]).to eq(["from a file"] * 2)
      expect(load.call("/a: {secrets: [{id: new, secret_file: secret}, {secret: old}]}\n").secret).to eq("from a file")
      { "secret_file: nowhere" => /secret_file is not usable: .* cannot be read/, "secret_file: lines" => /several lines/,
        "secret: a, secret_file: secret" => /both written/, "secret_file: ''" => /is empty/,
        "secret_file: secret, open: true" => /`open: true` too/ }.each do |keys, error|
        expect { load.call("/a: {#{keys}}\n") }.to raise_error(NoDevent::ConfigurationError, error)
      end
    end
  end
end
