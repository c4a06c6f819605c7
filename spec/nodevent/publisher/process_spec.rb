# frozen_string_literal: true

require "timeout"

# What a publisher does among threads, forks, signals and exits.
RSpec.describe NoDevent::Publisher::Queued, :native do
  let(:server) { RedisServer.shared }
  let(:listener) { Listener.new(server, "/nodevent") }

  before do
    listener
    NoDevent::Emitter.config = { redis: { port: server.port }, publisher: { queue: 100_000 } }
  end

  after { listener.stop }

  def emit(message, **options)
    NoDevent::Emitter.emit("r", "e", message, **options)
  end

  def script(body)
    ruby(<<~RUBY)
      require "nodevent"
      NoDevent::Emitter.config = { redis: { port: #{server.port} } }
      def emit(message, **options) = NoDevent::Emitter.emit("r", "e", message, **options)
      #{body}
    RUBY
  end

  it "N-104 delivers once what 8 threads and their forks emit" do
    each = GC.stress ? 20 : 1_000
    threads = Array.new(8) do |thread|
      Thread.new do
        each.times do |number|
          emit([thread, number])
          in_fork { emit([thread, "fork", number]) } if (number % (each / 4)).zero?
        end
      end
    end
    threads.each(&:join)
    heard = listener.take((8 * each) + (8 * 4)).map { |text| JSON.parse(text)["message"] }
    expect(heard.uniq.size).to eq(heard.size)
    8.times do |thread|
      expect(heard.select { |from, number| from == thread && number.is_a?(Integer) }.map(&:last)).to eq((0...each).to_a)
    end
    # This publisher's alone: those of other examples may have nobody to talk to.
    expect(NoDevent::Emitter.publisher.flush).to be(true)
    expect(listener).to be_empty
  end

  it "N-104 loses nothing while the configuration is replaced under the threads that emit" do
    each = GC.stress ? 20 : 500
    threads = Array.new(4) { |thread| Thread.new { each.times { |number| emit([thread, number]) } } }
    while threads.any?(&:alive?)
      NoDevent::Emitter.config = { redis: { port: server.port }, publisher: { queue: 100_000 } }
      Thread.pass
    end
    threads.each(&:join)
    heard = Array.new(4 * each) { listener.emission["message"] }
    expect(heard).to match_array([0, 1, 2, 3].product((0...each).to_a))
  end

  # The moment between the two, which a thread seldom hits: the old publisher takes no more, and who emits then is given
  # another one.
  it "N-104 emits in the very moment in which a publisher is closed" do
    replaced = -> { NoDevent::Emitter.config = { redis: { port: server.port } } }
    [replaced, -> { NoDevent::Publisher.forget }].each do |change|
      old = NoDevent::Emitter.publisher
      allow(old).to(receive(:close).and_wrap_original { |close| close.call.tap { emit("meanwhile") } })
      change.call
      expect(listener.emission["message"]).to eq("meanwhile")
      expect(old).to have_received(:close).once
    end
  end

  it "N-104 lets a fork of a fork publish, and begins its counts anew" do
    emit("parent", wait: true)
    in_fork do
      exit!(1) unless NoDevent.stats.values.sum.zero?
      emit("child", wait: true)
      in_fork { emit("grandchild", wait: true) }
      exit!(2) unless NoDevent.stats[:sent] == 1
    end
    emit("parent again", wait: true)
    expect(listener.take(4).map { |text| JSON.parse(text)["message"] })
      .to eq(["parent", "child", "grandchild", "parent again"])
  end

  it "N-104 does not send in a fork what the parent had in its queue" do
    away = RedisServer.new
    away.kill
    NoDevent::Emitter.config = { redis: { port: away.port } }
    5.times { |number| emit(number) }
    in_fork do
      exit!(1) unless NoDevent::Emitter.publisher.pending.zero?
      exit!(0)
    end
    expect(NoDevent::Emitter.publisher.pending).to eq(5)
    away.start
    heard = Listener.new(away, "/nodevent")
    NoDevent::Emitter.publisher.flush
    emit("end", wait: true)
    expect(heard.emission["message"]).to be_an(Integer).or eq("end")
  ensure
    heard&.stop
    away.stop
  end

  # Each of them begins with the randomness of its parent: what makes emissions known again must not be made of that.
  it "N-104 takes no fork's emissions for those of its siblings" do
    script(<<~RUBY)
      emit("parent", wait: true)
      4.times.map { |child| fork { 5.times { |number| emit([child, number]) } } }.each { |pid| Process.wait(pid) }
    RUBY
    heard = Array.new(21) { listener.emission["message"] }
    expect(heard.drop(1)).to match_array([0, 1, 2, 3].product([0, 1, 2, 3, 4]))
  end

  it "N-104 takes no fork's requests for those of its siblings" do
    desk = FrontDesk.new { [200, "{}"] }
    script(<<~RUBY)
      NoDevent::Emitter.config = { url: "#{desk.url}" }
      emit("parent", wait: true)
      4.times.map { |child| fork { emit(child) } }.each { |pid| Process.wait(pid) }
    RUBY
    expect(Array.new(5) { desk.next.headers["idempotency-key"] }.uniq.size).to eq(5)
  ensure
    desk.stop
  end

  it "sends at exit what waits" do
    script("3.times { |number| emit(number) }")
    expect(Array.new(3) { listener.emission["message"] }).to eq([0, 1, 2])
  end

  it "sends what a child emits that leaves with exit!, if it flushes" do
    script("emit(0, wait: true); Process.wait(fork { emit(1); NoDevent.flush; exit! })")
    expect(Array.new(2) { listener.emission["message"] }).to eq([0, 1])
  end

  it "publishes after Process.daemon" do
    script("emit(0, wait: true); Process.daemon(true); emit(1, wait: true)")
    expect(Array.new(2) { listener.emission["message"] }).to eq([0, 1])
  end

  it "does not keep an exit waiting for what is not there" do
    start = now
    out, err = Open3.capture3(RbConfig.ruby, "-I#{ROOT}/lib", "-e", <<~RUBY)
      require "nodevent"
      NoDevent::Emitter.config = { redis: { port: #{Ports.free} }, publisher: { flush: 20 } }
      NoDevent::Emitter.emit("r", "e", 1)
    RUBY
    expect(now - start).to be < 5
    expect(out).to eq("")
    expect(err).to match(/1 emission was not sent before the exit; .*, or raise `publisher: { flush: }`, now 20.0 s/)
  end

  describe "while a caller waits for the engine" do
    let(:frozen) { RedisServer.new }

    before do
      NoDevent::Emitter.config = { redis: { port: frozen.port } }
      emit(0, wait: true)
      frozen.freeze_up
    end

    after do
      frozen.thaw
      NoDevent::Emitter.publisher.flush
      frozen.stop
    end

    it "lets other threads run" do
      waiting = Thread.new { emit(1, wait: true, timeout: 5) }
      eventually { waiting.status == "sleep" }
      expect(Array.new(1_000) { |number| number }.sum).to eq(499_500)
      frozen.thaw
      expect(waiting.value).to eq(0)
    end

    it "obeys Timeout" do
      start = now
      expect { Timeout.timeout(0.2) { emit(1, wait: true, timeout: 30) } }.to raise_error(Timeout::Error)
      expect(now - start).to be < 3
    end

    it "obeys Thread#kill and Thread#raise" do
      [:kill.to_proc, ->(thread) { thread.raise(IOError, "enough") }].each do |call_away|
        thread = Thread.new do
          Thread.current.report_on_exception = false
          emit(1, wait: true, timeout: 30)
        rescue IOError => e
          e.message
        end
        eventually { thread.status == "sleep" }
        call_away.call(thread)
        expect(thread.join(5)).to be(thread)
        expect(thread.value).to be_nil.or eq("enough")
      end
    end

    it "lets signals through, and waits on" do
      seen = Queue.new
      before = Signal.trap(:USR2) { seen << true }
      waiting = Thread.new { emit(1, wait: true, timeout: 10) }
      eventually { waiting.status == "sleep" }
      5.times do
        Process.kill(:USR2, Process.pid)
        eventually { !seen.empty? && seen.pop }
      end
      frozen.thaw
      expect(waiting.value).to eq(0)
    ensure
      Signal.trap(:USR2, before)
    end

    it "ends at Interrupt, as from Ctrl-C" do
      child = Process.spawn(RbConfig.ruby, "-I#{ROOT}/lib", "-e", <<~RUBY)
        require "nodevent"
        NoDevent::Emitter.config = { redis: { port: #{frozen.port} } }
        begin
          NoDevent::Emitter.emit("r", "e", 1, wait: true, timeout: 30)
        rescue Interrupt
          exit!(42)
        end
      RUBY
      # The child waits for the engine when it has said so by connecting.
      eventually { frozen_connections(child) }
      Process.kill(:INT, child)
      expect(Process.wait2(child).last.exitstatus).to eq(42)
      child = nil
    ensure
      Process.kill(:KILL, child) && Process.wait(child) if child
    end

    # Without the stress: a busy machine has thousands of lines to read here, and the child does not wait for ever.
    def frozen_connections(pid)
      stress = GC.stress
      GC.stress = false
      inodes = Dir["/proc/#{pid}/fd/*"].filter_map { |fd| File.readlink(fd)[/socket:\[(\d+)\]/, 1] rescue nil } # rubocop:disable Style/RescueModifier
      port = format(":%04X", frozen.port)
      File.readlines("/proc/net/tcp").any? do |line|
        fields = line.split
        fields[2].end_with?(port) && fields[3] == "01" && inodes.include?(fields[9])
      end
    ensure
      GC.stress = stress
    end
  end

  it "survives a garbage collection at every step, with publishers coming and going" do
    script(<<~RUBY)
      GC.stress = true # with the old ones too: this process has few
      2.times do |number|
        NoDevent::Emitter.config = { redis: { port: #{server.port} } }
        emit(number)
        emit("waited", wait: true)
      end
    RUBY
    expect(Array.new(4) { listener.emission["message"] }).to eq([0, "waited", 1, "waited"])
  end
end
