# frozen_string_literal: true

require "nodevent/doctor"
require "zlib"

# Issue 12, attack 14 and its siblings: another program answers on the port of the server. What it gets is documented in
# SECURITY.md; here: nothing else, and nothing that it returns is believed without a check, followed, or read without a
# limit.
#
# Cases: status 200 for anything; redirects; endless heads, lines, chunks, bodies and interim responses; slow drips;
# compressed responses; Socket.IO of the wrong shape; endless other publications; any key is right.
RSpec.describe "An impostor on the server's port", :native, stress: false do
  secret = "sesame-sign-1234567890"
  publish_key = "publish-with-this-key-1"
  let(:settings) { { secret: secret, publish_key: publish_key } }

  after { [@impostor, @other].compact.each(&:stop) }

  def impostor(&respond)
    @impostor = Impostor.new(&respond)
    NoDevent::Emitter.config = settings.merge(url: @impostor.url, public_url: @impostor.url)
    @impostor
  end

  # Loses nothing: what a program has accepted that is not our server is sent again, to our server.
  { "a page" => [200, "<h1>Hello</h1>"], "an object" => [200, "{}"], "another number" => [200, '{"accepted":2}'],
    "nothing" => [204, ""], "a list" => [201, "[1]"] }.each do |name, (status, body)|
    it "is not believed if it responds with #{name}, and nothing is lost" do
      is_ours = false
      impostor do |_, socket|
        socket.write(is_ours ? Impostor.reply(200, '{"accepted":1}') : Impostor.reply(status, body))
      end
      before = NoDevent.stats
      expect { NoDevent::Emitter.emit("r", "e", 1, wait: true, timeout: 0.3) }
        .to raise_error(NoDevent::PublishError, /with the status #{status}, does not confirm the publications; another program/)
      expect(NoDevent.stats[:sent]).to eq(before[:sent])
      is_ours = true
      expect(NoDevent::Emitter.publisher.flush(5)).to be(true)
      expect(NoDevent.stats[:sent]).to eq(before[:sent] + 1)
      keys = @impostor.received.scan(/^idempotency-key: (\S+)/i).flatten
      expect(keys.uniq.size).to eq(1), "it is published once if the program was our server"
    end
  end

  it "gets publications, the publish key, and keys for rooms that end in a minute, and no secret" do
    impostor do |head, socket|
      body = head.start_with?("POST /api") ? '{"accepted":1}' : '{"position":"0123456789abcdef:1","idle_ms":60000}'
      socket.write(Impostor.reply(200, body))
    end
    allow(NoDevent::RequestStart).to receive(:elapsed).and_return(0.01)
    NoDevent::Emitter.emit("r", "e", "m", wait: true)
    eventually("a read") { NoDevent::Namespace.default.position("other") }
    expect(@impostor.received).to include("Bearer #{publish_key}").and include('"message":"m"')
    expect(@impostor.received).not_to include(secret)
    keys = @impostor.received.scan(/Bearer (\h{64}:\d{13})/).flatten
    expect(keys).not_to be_empty
    now = (Time.now.to_f * 1000).to_i
    keys.each do |key|
      expect(key[/\d+\z/].to_i).to be <= now + 60_000
      expect(NoDevent::Native.verify(["/nodevent", "other", key], [secret], now, nil, false)).to be_an(Integer)
    end
  end

  [301, 302, 303, 307, 308].each do |status|
    it "cannot redirect the publish key, publications and keys with #{status}" do
      @other = Impostor.new { |_, socket| socket.write(Impostor.reply(200, '{"accepted":1}')) }
      impostor do |head, socket|
        body = head.include?("/healthz") ? "ok" : ""
        socket.write(Impostor.reply(body.empty? ? status : 200, body, "Location" => @other.url))
      end
      allow(NoDevent::RequestStart).to receive(:elapsed).and_return(0.01)
      expect { NoDevent::Emitter.emit("r", "e", 1, wait: true) }.to raise_error(NoDevent::PublishError, /returned #{status}/)
      expect(NoDevent::Namespace.default.position("r")).to be_nil
      expect(NoDevent::Doctor.examine.last.level).to eq(:fail)
      sleep(0.05)
      expect(@other.received).to eq("")
    end
  end

  head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
  forever = ->(socket, text) { loop { socket.write(text) } }
  drip = lambda do |socket, text|
    loop do
      socket.write(text)
      sleep(0.05)
    end
  end
  compressed = nil
  endless = {
    "an endless head" => ->(socket) { socket.write(head) && forever.call(socket, "X-A: #{'b' * 1000}\r\n" * 16) },
    "an endless line" => ->(socket) { socket.write("#{head}X-A: ") && forever.call(socket, "b" * 16_384) },
    "endless chunks" => ->(socket) { socket.write("#{head}Transfer-Encoding: chunked\r\n\r\n") && forever.call(socket, "4000\r\n#{' ' * 16_384}\r\n") },
    "a giant body" => ->(socket) { socket.write("#{head}Content-Length: 99999999999\r\n\r\n") && forever.call(socket, " " * 16_384) },
    "a body without end" => ->(socket) { socket.write("#{head}Connection: close\r\n\r\n") && forever.call(socket, " " * 16_384) },
    "a compressed body" => lambda do |socket|
      # Compressed once: it takes as long as the requests.
      body = (compressed ||= Zlib.gzip(" " * 100_000_000))
      socket.write("#{head}Content-Encoding: gzip\r\nContent-Length: #{body.bytesize}\r\n\r\n#{body}")
    end,
    "endless interim responses" => ->(socket) { forever.call(socket, "HTTP/1.1 103 Early Hints\r\n\r\n" * 100) },
    "a head that drips" => ->(socket) { socket.write(head) && drip.call(socket, "X-A: b\r\n") },
    "a body that drips" => ->(socket) { socket.write("#{head}Content-Length: 100000\r\n\r\n") && drip.call(socket, " ") }
  }

  # In a process of its own, whose memory is measured. The doctor follows `/healthz`, which is answered as by our server.
  endless.each do |name, respond|
    it "takes neither memory nor time with #{name}" do
      impostor { |request, socket| request.include?("/healthz") ? socket.write(Impostor.reply(200, "ok")) : respond.call(socket) }
      out = ruby(<<~RUBY)
        require "nodevent"
        require "nodevent/doctor"
        NoDevent.logger = Class.new { def warn(*) = nil; alias info warn; alias error warn }.new
        NoDevent::Emitter.config = { url: "#{@impostor.url}", public_url: "#{@impostor.url}", secret: "#{secret}", publisher: { shutdown_timeout: "100ms" } }
        memory = -> { File.read("/proc/self/status")[/VmRSS:\\s+(\\d+)/, 1].to_i / 1024 }
        clock = -> { Process.clock_gettime(Process::CLOCK_MONOTONIC) }
        begun = memory.call
        start = clock.call
        begin
          NoDevent::Emitter.emit("r", "e", 1, wait: true, timeout: 0.5)
        rescue NoDevent::PublishError
          puts "raised"
        end
        NoDevent::RequestStart.mark
        3.times { |number| p NoDevent::Namespace.default.position("r-\#{number}") }
        puts clock.call - start
        start = clock.call
        puts NoDevent::Doctor.examine.last.level
        puts clock.call - start
        puts memory.call - begun
      RUBY
      raised, *positions, publish, level, examine, grown = out.lines(chomp: true)
      expect([raised, positions, level]).to eq(["raised", ["nil"] * 3, "fail"])
      expect(publish.to_f).to be < 2
      expect(examine.to_f).to be < 7
      expect(grown.to_i).to be < 60
    end

    # The calls that wait for a response in the application's own thread.
    it "takes neither memory nor time of notify, presence and revoke with #{name}" do
      impostor { |_, socket| respond.call(socket) }
      out = ruby(<<~RUBY)
        require "nodevent"
        NoDevent::Emitter.config = { url: "#{@impostor.url}", public_url: "#{@impostor.url}", secret: "#{secret}" }
        memory = -> { File.read("/proc/self/status")[/VmRSS:\\s+(\\d+)/, 1].to_i / 1024 }
        clock = -> { Process.clock_gettime(Process::CLOCK_MONOTONIC) }
        begun, start = memory.call, clock.call
        [-> { NoDevent::Emitter.notify("7", "e", 1, timeout: 1) }, -> { NoDevent.presence("r") }, -> { NoDevent.revoke(user: "7") }].each do |call|
          call.call
          puts "nothing raised"
        rescue NoDevent::Error => e
          puts e.class
        end
        puts clock.call - start
        puts memory.call - begun
      RUBY
      *raised, seconds, grown = out.lines(chomp: true)
      expect(raised).to eq(%w[NoDevent::PublishError NoDevent::ServerError NoDevent::RevokeError])
      expect(seconds.to_f).to be < 25
      expect(grown.to_i).to be < 60
    end
  end

  it "keeps no core busy, whatever it sends" do
    endless.each_value do |respond|
      program = Impostor.new { |_, socket| respond.call(socket) }
      out = ruby(<<~RUBY)
        require "nodevent"
        NoDevent.logger = Class.new { def warn(*) = nil; alias info warn; alias error warn }.new
        NoDevent::Emitter.config = { url: "#{program.url}", publisher: { shutdown_timeout: "10ms" } }
        NoDevent::Emitter.emit("r", "e", 1)
        clock = -> { Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) }
        start = clock.call
        sleep(1.5)
        print clock.call - start
      RUBY
      expect(out.to_f).to be < 0.5
    ensure
      program&.stop
    end
  end

  # The steps of a client, each answered in a wrong way.
  wrong = ["", "0", "0[]", "0null", '0{"sid":1}', "0{\"sid\":\"#{'x' * 1000}\"}", "0" * 100_000, "[" * 100_000, "\xff\xfe", "2" * 5,
           "0{\"sid\":\"a b&\\r\\nX: y\"}"]
  it "gets an error of the doctor whatever it returns instead of Socket.IO" do
    wrong.each do |text|
      client = Impostor.new { |_, socket| socket.write(Impostor.reply(200, text)) }
      started = now
      expect { NoDevent::Doctor::PollingClient.new(client.url, "/nodevent") }
        .to raise_error(NoDevent::Doctor::PollingClient::Refused) { |error| expect(error.message.size).to be < 600 }
      expect(now - started).to be < 7
    ensure
      client&.stop
    end
  end

  # Like our server, but each key is right.
  def any_key_is_right
    packets = Queue.new
    impostor do |request, socket|
      head, body = request.split("\r\n\r\n", 2)
      number = body[/\A42.*?,(\d+)/, 1]
      packets << '40/nodevent,{"sid":"b"}' if body.start_with?("40")
      error = body.include?("key") ? nil : "Must provide key"
      packets << "43/nodevent,#{number}#{JSON.generate([error, true])}" if number
      is_poll = head.start_with?("GET") && head.include?("sid=")
      socket.write(Impostor.reply(200, is_poll ? packets.pop : { "/healthz" => "ok", "/socket.io/" => '0{"sid":"a"}' }.fetch(head[%r{/[a-z.]+/?}], "ok")))
    end
  end

  it "gets no publish key from the doctor if it admits clients with any key" do
    any_key_is_right
    failed = NoDevent::Doctor.examine.last
    expect(failed.to_s).to match(/FAIL the program at .* admits clients with any key, so it does not know the secret\n     → /)
    expect(@impostor.received).not_to include(publish_key)
    expect(@impostor.received).not_to include(secret)
  end

  it "ends the doctor's wait with a clear error if it sends other publications without end" do
    client = nil
    allow(NoDevent::Doctor::PollingClient).to receive(:new) { client }
    client = Object.new
    client.define_singleton_method(:join) { |_, key = nil| [key && (@joins = @joins.to_i + 1) == 2 ? nil : "Bad key", true] }
    client.define_singleton_method(:publication) { sleep(0.01) && { "message" => "another" } }
    client.define_singleton_method(:close) { nil }
    impostor { |request, socket| socket.write(Impostor.reply(200, request.include?("/emit") ? '{"accepted":1}' : "ok")) }
    started = now
    expect(NoDevent::Doctor.examine.last.message).to match(/but the server did not deliver it/)
    expect(now - started).to be < 8
  end
end
