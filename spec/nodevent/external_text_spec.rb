# frozen_string_literal: true

# Measures time.

require "pp" # rubocop:disable Lint/RedundantRequireStatement -- Ruby 3.1 loads it at the first pp only

require "json"
require "nodevent/doctor"
require "nodevent/testing"
require "open3"
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

  unsafe = JSON.parse(File.read(File.join(ROOT, "protocol/vectors/text.json")))

  it "is printed by the rules of the server", stress: false do
    expect(unsafe["printable"].size).to be >= 10
    unsafe["printable"].each { |one| expect(NoDevent::Text.clean(one["text"], one["max"])).to eq(one["printable"]), one.inspect }
    ranges = unsafe["unsafe"].map { |first, last| first..last }
    [*0..0x2fff, *0xf000..0xffff, *0xdff00..0xe0100].each do |code|
      is_shown = NoDevent::Text.clean("a#{[code].pack('U')}b").include?([code].pack("U"))
      expect(is_shown).to eq(code == 0x20 || ranges.none? { |range| range.cover?(code) }), code.to_s(16)
    end
  end

  it "takes little time to print, whatever it is", stress: false do
    clock = -> { Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) }
    parts = ["a://", "a.", "@", "a://@", "\e ", "a:", "\u202e", "a-b://x@ "]
    texts = parts.map { |part| part * 100_000 } << "#{'a' * 15_000}\"@" << "#{'a://' * 3000} @"
    texts.each do |text|
      started = clock.call
      20.times { NoDevent::Text.line(text) }
      expect(clock.call - started).to be < 1, text[-20..]
    end
  end

  # All lines of a text, as a terminal gets them.
  def expect_printable(text)
    expect(text.lines(chomp: true)).to all(satisfy { |line| NoDevent::Text.clean(line, 10_000).size >= line.strip.squeeze(" ").size })
    expect(text).not_to match(/^\W*FATAL/)
  end

  # Names of rooms and events, options and values of visitors.
  it "is one printable line in every error that is raised" do
    bad = "\e[31m\n\u202eFATAL\u2028\u009b\u0007"
    long = bad * 1000
    deep = nil
    200.times { deep = [deep] }
    record = Class.new { def self.name = "A\e[31m\nB" }.new
    attempts = [
      -> { NoDevent::Emitter.emit(long, "e") }, -> { NoDevent::Emitter.emit("#{bad}\xff", "e") },
      -> { NoDevent::Emitter.emit("r", "#{bad}\xff") }, -> { NoDevent::Emitter.emit("r", [bad]) }, -> { NoDevent::Emitter.emit("r", { long => 1 }) },
      -> { NoDevent::Emitter.emit(bad, long, "\xff") }, -> { NoDevent::Emitter.emit(bad, long, deep) }, -> { NoDevent::Emitter.emit(bad, long, "x" * 2_000_000) },
      -> { NoDevent::Emitter.emit("r", long, wait: true, bad.to_sym => 1) }, -> { NoDevent::Emitter.emit("r", long, wait: long) },
      -> { NoDevent::Emitter.emit("r", "e", 1, long.to_sym => 1) }, -> { NoDevent::Emitter.emit("r", "e", 1, namespace: long) },
      -> { NoDevent::Emitter.emit("r", "e", 1, except: long) }, -> { NoDevent::Emitter.emit(record, "e") },
      -> { NoDevent::Emitter.room_key("r", bad) }, -> { NoDevent::Emitter.room_key("r", Struct.new(:to_f).new(0.0).tap { |one| one.define_singleton_method(:inspect) { long } }) },
      -> { NoDevent.namespace(long) }, -> { NoDevent::Emitter.config = { "/a#{bad}" => 1 } }, -> { NoDevent::Emitter.config = { "/a#{long}" => { secret: "$X", redis: bad } } },
      -> { NoDevent::Emitter.config = { namespace: bad, "/b": {} } }, -> { NoDevent::Emitter.config = { history: { rooms: { bad => 1 } } } },
      -> { NoDevent::Emitter.config = { redis: { ssl: { ca: bad } } } }, -> { NoDevent::Emitter.config = { secret_file: "/tmp/#{bad}" } },
      -> { NoDevent::Emitter.config = { publisher: { bad => 1 } } }, -> { NoDevent::Configuration.load_file("/tmp/#{long}.yml") }
    ]
    attempts.each_with_index do |attempt, index|
      expect(&attempt).to raise_error(StandardError) { |error|
        expect([NoDevent::Error, ArgumentError]).to include(satisfy { |kind| error.is_a?(kind) }), "#{index}: #{error.class}"
        expect(error.message.size).to be < 2100
        expect(error.message).not_to match(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e]/), "#{index}: #{error.message.dump}"
      }
    end
  end

  it "is one printable line in errors about a file, whatever its name and its content are" do
    Dir.mktmpdir do |folder|
      ["/a\e[31m\u202e: {secret: $X}\n", "\"/a\\e[31m\\nFATAL\": 1\n", "\"/a\\u202e\": {secret: [1]}\n", "\"\\e[31m\": [\n", "a: \"\\e\nb: ]\n",
       "shared: 1\n\"\\nFATAL\": {}\nproduction: {}\n"].each do |text|
        path = File.join(folder, "\e[31m\nFATAL\u202e.yml")
        File.write(path, text)
        expect { NoDevent::Configuration.load_file(path).secret }
          .to raise_error(NoDevent::ConfigurationError) { |error| expect(error.message).not_to match(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e]/) }
      end
    end
  end

  it "is one printable line in Rails' log of emit" do
    out = ruby(<<~'RUBY')
      require "logger"
      require "active_support"
      require "active_support/log_subscriber"
      require "nodevent"
      require "nodevent/log_subscriber"
      ActiveSupport::LogSubscriber.logger = Logger.new($stdout)
      ActiveSupport::LogSubscriber.colorize_logging = false
      NoDevent::LogSubscriber.attach_to(:nodevent)
      NoDevent::Emitter.publisher = Class.new { def publish(*) = 1 }.new
      NoDevent::Emitter.emit("r\e[31m\nFATAL\u202e", "e\n\u009bFATAL" * 1000, 1)
    RUBY
    expect(out.lines.size).to eq(1)
    expect(out).to match(/NoDevent emit.*e FATAL.*→ r \[31m FATAL/)
    expect(out).not_to match(/[\e\u009b\u202e]/)
    expect(out.size).to be < 1000
  end

  it "is printable in the messages of failed tests", stress: false do
    publication = NoDevent::Testing::Publication.new(room: "r\e[31m\nFATAL", event: "e\u202e\nFATAL", message: "\u009bm\u2028" * 1000)
    match = NoDevent::Testing::PublicationMatch.new("\e[31m\nFATAL", room: "\u202ex")
    [match.failure([publication]), match.failure_when_negated([publication]), match.to_s, publication.to_s].each { |text| expect_printable(text) }
  end

  it "is printable in what the doctor prints, in the rake task too" do
    attack = "\e[31m\nFATAL\u202e\u009b " * 100
    stub = StubServer.new do |request|
      case request.path
      when "/healthz" then [200, "ok"]
      when %r{\A/api/} then [200, attack]
      else [403, attack * 100]
      end
    end
    Dir.mktmpdir do |folder|
      path = File.join(folder, "nodevent\e[31m.yml")
      File.write(path, "public_url: #{stub.url}\n/nodevent: {open: true}\n")
      environment = Children::CLEAN.merge("NODEVENT_CONFIG" => path, "RUBYLIB" => "#{ROOT}/lib", "ORIGIN" => "https://a\e[31m\u202e")
      out, status = Open3.capture2e(environment, "rake", "-f", "#{ROOT}/lib/tasks/nodevent.rake", "nodevent:doctor")
      expect(status).not_to be_success
      expect(out).to include("cannot connect (403: [31m FATAL").and include("Events would not arrive")
      expect_printable(out)
      expect(out.gsub(/[\n→]/, "")).not_to match(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e]/)
    end
    invalid = NoDevent::Doctor::Finding.new(level: :fail, message: "a\nok   forged", hint: "\e[31m\nb")
    expect(invalid.to_s).to eq("FAIL a ok forged\n     → [31m b")
  ensure
    stub&.stop
  end

  # Where the gem prints and logs; all of them pass the text through Text.
  it "is printed in few places, which use one sanitiser", stress: false do
    # Those of `cable` print code of the application, and what a client has sent, through `Text`.
    allowed = { "cable/check.rb" => 2, "cable/session.rb" => 2, "doctor.rb" => 1, "logger.rb" => 2,
                "publisher/exit_hook.rb" => 1 }
    printing = /\b(?:logger|Logger\.current)\.(?:debug|info|warn|error|fatal|public_send)|\bcurrent\.public_send|Kernel\.warn|\b(?:puts|\$stdout|\$stderr|STDERR|STDOUT)\b(?!,)|^\s*(?:warn|print|p|pp|abort) /
    found = Dir[File.join(ROOT, "lib/nodevent/**/*.rb")].to_h do |path|
      code = File.readlines(path).reject { |line| line.lstrip.start_with?("#") }
      [path.delete_prefix("#{ROOT}/lib/nodevent/"), code.grep(printing).size]
    end
    expect(found.reject { |_, count| count.zero? }).to eq(allowed)
    inspected = Dir[File.join(ROOT, "lib/nodevent/**/*.rb")].reject { |path| path.end_with?("/text.rb") }.flat_map { |path| File.readlines(path).grep(/\.inspect\[/) }
    expect(inspected).to eq([])
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
    expect(NoDevent::Text.clean("(redis+tls://u@h) a@b ://x@y")).to eq("(redis+tls://…@h) a@b ://x@y")
    expect(NoDevent::Text.clean("see http://h/0 or x@y.z")).to eq("see http://h/0 or x@y.z")
  end
end
