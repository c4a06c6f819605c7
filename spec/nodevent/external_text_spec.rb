# frozen_string_literal: true

require "pp" # rubocop:disable Lint/RedundantRequireStatement -- Ruby 3.1 loads it at the first pp only

require "tempfile"
require "tmpdir"

# Issue 12, attack 15, the gem's half: external text in the log, and secrets in errors, logs and `inspect`.
#
# Cases: newlines, ANSI sequences, direction marks, invalid UTF-8 and 900 KB in the error, in the hint and in a response
# without JSON; in an error of Redis; in an exception of a custom publisher and of an error handler; user and password in
# `url`, `public_url` and `redis`; secrets of each kind in `inspect`, `pp`, `to_json`, `to_yaml`, `Marshal` and errors, also with Active Support; values that are no secret's place.
RSpec.describe "Text from outside", :native do
  let(:attack) { "a\nFATAL forged line\r\n\e[31mred\e[0m\u2028\u202Eevil\u0000\u009b1m #{'x' * 900_000}" }

  def expect_clean(text, what = "a FATAL forged line")
    expect(text).not_to match(/[\n\r\e\u0000\u009b\u2028\u202e]/)
    expect(text.size).to be < 2000
    expect(text).to include(what)
  end

  # The error that the server causes, raised to the caller, passed to the handler, and logged.
  def errors_of(settings)
    NoDevent::Emitter.config = settings
    seen = Queue.new
    handler = NoDevent.on_error { |error| seen << error.message }
    raised = begin
      NoDevent::Emitter.emit("r", "e", 1, wait: true)
    rescue NoDevent::PublishError => e
      e.message
    end
    NoDevent::Emitter.emit("r", "e", 2)
    # The stub may close its connection too early, which is reported first.
    reported = Timeout.timeout(Waiting::LIMIT) do
      loop do
        text = seen.pop
        break text if text.include?("FATAL")
      end
    end
    eventually("the log line") { @log.string.include?(reported) }
    [raised, reported, @log.string.lines.grep(/not published|failed/).last.chomp]
  ensure
    NoDevent::ErrorReporter.remove(handler)
  end

  it "is one short line without control characters, from a server" do
    [JSON.generate(error: attack, hint: "no"), JSON.generate(error: "a FATAL forged line", hint: attack), attack,
     "#{attack}\xff".b].each do |body|
      stub = StubServer.new { [400, body] }
      errors_of(url: stub.url).each { |text| expect_clean(text) }
    ensure
      stub&.stop
    end
  end

  # Redis ends an error at the first line break. A line of more than 64 KB is not read.
  it "is one short line without control characters, from Redis" do
    line = attack.delete("\r\n").sub("aFATAL", "a FATAL")
    { line[0, 60_000] => "a FATAL forged line", line => "a line is too long" }.each do |reply, what|
      redis = failing_redis(reply)
      NoDevent::Emitter.config = { redis: { port: redis.addr[1] }, history: "off" }
      expect { NoDevent::Emitter.emit("r", "e", 1, wait: true) }
        .to raise_error(NoDevent::PublishError) { |error| expect_clean(error.message, what) }
    ensure
      redis&.close
    end
  end

  # A Redis that accepts everything but publications.
  def failing_redis(reply)
    listener = TCPServer.new("127.0.0.1", 0)
    Thread.new do
      loop do
        Thread.new(listener.accept) do |socket|
          while (data = socket.readpartial(65_536))
            is_publish = data.include?("EVALSHA") || data.include?("PUBLISH")
            data.scan(/^\*\d/).each { socket.write(is_publish ? "-ERR #{reply}\r\n" : "+OK\r\n") }
          end
        rescue IOError, SystemCallError
          nil
        end
      end
    rescue IOError, SystemCallError
      nil
    end
    listener
  end

  it "is one short line without control characters, from a custom publisher and from a handler" do
    text = attack
    publisher = Object.new.tap { |one| one.define_singleton_method(:publish) { |*| raise IOError, text } }
    NoDevent::Emitter.publisher = publisher
    handler = NoDevent.on_error { raise text }
    NoDevent::Emitter.emit("r", "e", 1)
    lines = @log.string.lines
    expect(lines.size).to eq(2)
    lines.each { |line| expect_clean(line.chomp) }
  ensure
    NoDevent::ErrorReporter.remove(handler)
  end

  secrets = { secret: "sesame-sign-1234567", publish_key: "sesame-publish-12345", redis: "redis://u:sesame-redis@h:1/0" }

  it "never contains a secret, wherever the configuration is printed" do
    require "yaml"
    NoDevent::Emitter.config = secrets
    config = NoDevent::Emitter.config
    publisher = NoDevent::Emitter.publisher
    internals = config.instance_variables.map { |name| config.instance_variable_get(name) }
    shown = [config, publisher, NoDevent::Namespace.default, *internals, *internals.grep(Hash).flat_map(&:values)]
    texts = shown.flat_map { |one| [one.inspect, one.to_s, PP.pp(one, +"")] }
    texts += internals.grep(Hash).flat_map(&:values).grep(NoDevent::Configuration::Redacted)
                      .flat_map { |one| [one.to_json, one.as_json, JSON.generate([one]), YAML.dump(one), one.to_s] }
    begin
      config.no_such_method
    rescue NoMethodError => e
      texts << e.message << e.full_message
    end
    expect(texts.size).to be > 30
    texts.each { |text| expect(text).not_to include("sesame") }
    expect { Marshal.dump(internals.grep(Hash).first[:secret]) }.to raise_error(TypeError)
    expect(config.secret).to eq(secrets[:secret])
    expect(publisher.address).to eq("redis://h:1/0")
  end

  it "never contains a secret if Active Support, YAML or Marshal writes the objects of a configuration" do
    out = ruby(<<~RUBY)
      require "active_support"
      require "active_support/json"
      require "yaml"
      require "nodevent"
      NoDevent::Emitter.config = { secret: "sesame-sign-1234567", publish_key: "sesame-publish-12345", redis: "redis://u:sesame-redis@h:1/0" }
      config = NoDevent::Emitter.config
      parts = %i[@document @values].map { |name| config.instance_variable_get(name) }
      [config, *parts].each do |one|
        puts one.to_json, one.as_json, { one: one }.to_json, JSON.generate([one]), YAML.dump(one), YAML.dump([one])
        Marshal.dump(one)
      rescue TypeError => e
        puts e.message
      end
      puts config.secret
    RUBY
    *shown, secret = out.lines(chomp: true)
    expect([shown.size >= 21, secret]).to eq([true, "sesame-sign-1234567"])
    expect(shown.join).not_to include("sesame")
  end

  it "never contains a value of the configuration that may be a secret in the wrong place" do
    settings = [{ redis: { cluster: ["redis://:sesame@one:6379"] } }, { redis: { cluster: "a:1, :sesame@b:1" } },
                { redis: { sentinel: { hosts: ["s:1", "redis://:sesame@one:6379"] } } }, { "/nodevent" => "sesame" },
                { redis: "redis://me:12?sesame@h" }, { redis: "redis://me:12?x=1&sesame=2@h" }, { redis: { url: "redis://me:12?sesame@h" } },
                { publisher: "sesame" }, { history: { rooms: "sesame" } }, "redis://:sesame@h", :sesame]
    files = ["/a:\n  secret: !sesame\n", "/a:\n  secret: !<sesame> x\n", "/a:\n  secret: *sesame\n", "/a: {secret: *sesame }\n", "/a: sesame\n",
             "/a:\n  secret: ! *sesame\n", "/a:\n  secret: !sesame!x y\n"]
    attempts = settings.map { |one| -> { NoDevent::Emitter.config = one } }
    attempts += files.map do |text|
      lambda do
        Tempfile.create(["c", ".yml"]) do |file|
          file.write(text) && file.flush
          NoDevent::Configuration.load_file(file.path).secret
        end
      end
    end
    attempts.each do |attempt|
      expect(&attempt).to raise_error(NoDevent::ConfigurationError) { |error| expect(error.message).not_to include("sesame") }
    end
    expect { NoDevent::Emitter.config = { redis: { cluster: ["a:1", "x y"] } } }
      .to raise_error(NoDevent::ConfigurationError, /redis.cluster has an entry, number 2, that is not host:port/)
    expect { NoDevent::Emitter.config = { redis: "redis://me:12?sesame@h" } }
      .to raise_error(NoDevent::ConfigurationError, /write the `\?` of a password as %3F/)
    expect(@log.string).not_to include("sesame")
  end

  it "never contains user and password of a URL" do
    %i[url public_url host].each do |key|
      ["http://me:sesame@localhost:1", "//me:sesame@localhost", "http://sesame@localhost"].each do |url|
        expect { NoDevent::Emitter.config = { key => url } }.to raise_error(NoDevent::ConfigurationError) { |error|
          expect(error.message).to match(/contains a user or password.*publish_key/).or match(/is not a URL/)
          expect(error.message).not_to include("sesame")
        }
      end
    end
    ["redis://:sesame@h:port", "http://me:sesame@h", "redis://me:sesame@h/x", "me:sesame@h"].each do |url|
      expect { NoDevent::Emitter.config = { redis: url } }
        .to raise_error(NoDevent::ConfigurationError) { |error| expect(error.message).not_to include("sesame") }
    end
    NoDevent::Emitter.config = { redis: "redis://me:sesame@127.0.0.1:#{Ports.free}", publisher: { timeout: "300ms" } }
    expect { NoDevent::Emitter.emit("r", "e", 1, wait: true) }
      .to raise_error(NoDevent::PublishError) { |error| expect(error.message).not_to include("sesame") }
    expect(@log.string).not_to include("sesame")
    expect(NoDevent::Text.clean("see redis://me:sesame@h/0")).to eq("see redis://…@h/0")
    expect(NoDevent::Text.clean(%(see "redis://me:a/se@sa/me@h/0" or x@y.z))).to eq(%(see "redis://…@h/0" or x@y.z))
    expect(NoDevent::Text.clean("see http://h/0 or x@y.z")).to eq("see http://h/0 or x@y.z")
  end
end
