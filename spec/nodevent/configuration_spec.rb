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
    file(text, **env)
  rescue NoDevent::ConfigurationError => e
    e.message.sub(%r{\A.*/nodevent\.yml}, "nodevent.yml")
  else
    raise "this was taken: #{text}"
  end

  it "has defaults for everything" do
    expect(given({}).to_h).to eq("host" => "http://localhost:8080", "namespace" => "/nodevent", "secret" => nil,
                                 "redis" => nil, "url" => "http://localhost:8080", "publish_key" => nil)
  end

  it "keeps keys of the application's own, for either kind of key" do
    expect(given("color" => "red")[:color]).to eq("red")
  end

  it "reads the file that the server reads: namespaces are keys with a slash, the first is meant" do
    config = file(<<~YAML)
      port: 8080
      host: https://push.example.com/
      admin: { host: 127.0.0.1, port: 8081 }
      /board:
        secret: long-and-random
        publish_key: 54321
        redis: { host: redis, port: 6380 }
        history: { size: 100 }
      /other: { secret: of-others }
    YAML
    expect(config.to_h).to eq("host" => "https://push.example.com", "namespace" => "/board",
                              "secret" => "long-and-random", "redis" => { "host" => "redis", "port" => 6380 },
                              "url" => "https://push.example.com", "publish_key" => "54321")
  end

  it "takes the namespace that namespace: names, and none that the file does not have" do
    text = "namespace: other\n/board: {secret: a}\n/other: {secret: b}\n"
    expect(file(text).secret).to eq("b")
    expect(mistake("namespace: /else\n/board: {secret: a}\n"))
      .to eq("nodevent.yml:1: namespace is /else, but the file has /board; they must agree")
  end

  it "takes flat keys for the namespace's own, and what stands below it first" do
    config = file("secret: flat\npublish_key: flat-key\n/board: {secret: own}\n")
    expect([config.secret, config.publish_key]).to eq(%w[own flat-key])
  end

  it "takes the first of several secrets" do
    expect(file("/b: {secrets: [{id: new, secret: one}, {id: old, secret: two}]}").secret).to eq("one")
    expect(mistake("/b: {secrets: [one]}")).to include("is not a list like [{id: new, secret: …}")
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
    expect([development.host, development.secret, development.redis])
      .to eq(["http://shared", "shared", { "host" => "a", "port" => 2 }])
    expect(file(text, NODEVENT_ENV: nil, RAILS_ENV: "production").secret).to eq("production")
    expect(file(text, NODEVENT_ENV: "production", RAILS_ENV: "development").secret).to eq("production")
    expect(mistake(text, NODEVENT_ENV: "staging"))
      .to end_with("the environment is `staging`, but there are only the sections shared, development, production; " \
                   "write `staging: {}` beside, or name another by NODEVENT_ENV")
  end

  # It would be taken for a file without settings, and the application would go on with the defaults.
  it "refuses a file that has only shared settings, or another environment's" do
    ["shared", "shared:\n  port: 1\nqa"].each do |sections|
      expect(mistake("#{sections}:\n  /board: {secret: s}\n", NODEVENT_ENV: "test"))
        .to end_with("the environment is `test`, but there is only the section shared; " \
                     "write `test: {}` beside, or name another by NODEVENT_ENV")
    end
    expect(mistake("shared: {secret: s}\nproduction:\n", NODEVENT_ENV: "production")).to include("is `production`, but")
    expect(file("shared: {secret: s}\nqa: {}\n", NODEVENT_ENV: "qa").secret).to eq("s")
  end

  it "takes ${NAME} and ${NAME:-default} from the environment, but only of what it needs" do
    text = %(host: http://h:${P:-80}\n/b: {secret: "${S}", redis: {url: "redis://${H}/1"}, auth: "${MISSING}"}\n)
    config = file(text, P: "", S: "s3cret", H: "there")
    expect([config.host, config.secret, config.redis["url"]]).to eq(["http://h:80", "s3cret", "redis://there/1"])
    expect(mistake(text, S: nil, H: "x"))
      .to eq("nodevent.yml:2: /b.secret asks for ${S}, which the environment does not have; set it, or write " \
             "${S:-default}")
  end

  it "does not look for ${NAME} in what Ruby gives" do
    expect(given(secret: "a${B}c").secret).to eq("a${B}c")
  end

  it "takes host for browsers only with a scheme" do
    expect(file("host: 0.0.0.0\n").host).to eq("http://localhost:8080")
    expect(file("host: //push\n").to_h.values_at("host", "url")).to eq(%w[//push http://push])
  end

  it "reads durations and counts of the publisher" do
    config = given(publisher: { queue: "5", queue_bytes: 1_000, timeout: "250ms", flush: "1m" })
    expect(config.publisher.to_h).to eq(queue: 5, queue_bytes: 1_000, timeout: 0.25, flush: 60.0)
  end

  it "reads JSON" do
    expect(file('{"/b": {"secret": "json"}}', name: "nodevent.json").secret).to eq("json")
    expect { file('{"/b": {"secret": }}', name: "nodevent.json") }.to raise_error(NoDevent::ConfigurationError, /json/)
  end

  it "names file, line and remedy of every mistake" do
    { "/b:\n  secret: ''\n" => "nodevent.yml:2: /b.secret is empty; write a text, or leave it out",
      "/b:\n  redis: 12\n" => "nodevent.yml:2: /b.redis is Integer; write a URL, or host: and port:",
      "/b: 12\n" => "nodevent.yml:1: /b is Integer, not a mapping",
      "publisher:\n  queue: 0\n" => "nodevent.yml:2: publisher.queue is 0; write a number from 1 up",
      "publisher: {timeout: soon}\n" => 'nodevent.yml:1: publisher.timeout is "soon"; write it like 5s or 250ms',
      "publisher: {qeue: 1}\n" => "nodevent.yml:1: publisher.qeue is unknown; known are queue, queue_bytes, timeout, " \
                                  "flush",
      "- a\n" => "nodevent.yml: is Array, not a mapping of keys to values",
      "a: <%= 1 %>\n" => "nodevent.yml:1: ERB is not read here, because the server could not; write \"${NAME}\" or " \
                         "\"${NAME:-default}\"" }.each do |text, message|
      expect(mistake(text)).to eq(message)
    end
    expect(mistake("a: [\nb: c\n")).to match(/\Anodevent\.yml:\d+:\d+: /)
    expect { described_class.load_file("/nowhere/n.yml") }
      .to raise_error(NoDevent::ConfigurationError, "/nowhere/n.yml: cannot be read: No such file or directory")
  end

  it "refuses what cannot be a Redis when it is first used" do
    { { url: "http://h" } => /redis.url has no scheme of redis, rediss/, { port: 0 } => /redis.port is 0/,
      { db: "x" } => /redis.db is "x"/, { sentinel: {} } => /redis.sentinel.hosts lists no node/ }.each do |redis, text|
      expect { NoDevent::Emitter.config = { redis: redis } and NoDevent::Emitter.publisher }
        .to raise_error(NoDevent::ConfigurationError, text)
    end
  end

  it "is found below the root, or where NODEVENT_CONFIG says" do
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

  it "means the same as the server where both read one file" do
    server = NodeventServer.new({ "namespace" => "flat", "publish_key" => "flat-publish-key" })
    NoDevent::Emitter.config = { host: server.url, namespace: "flat", publish_key: "flat-publish-key" }
    expect(NoDevent::Emitter.emit("r", "e", 1, wait: true)).to be_truthy
  ensure
    server&.stop
  end
end
