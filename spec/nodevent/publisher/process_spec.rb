# frozen_string_literal: true

# Measures time.

require "timeout"

# Publishers with threads, forks, signals and exits.
RSpec.describe NoDevent::Publisher::BackgroundPublisher, :native do
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
    received = listener.take((8 * each) + (8 * 4)).map { |text| JSON.parse(text)["message"] }
    expect(received.uniq.size).to eq(received.size)
    8.times do |thread|
      expect(received.select do |from, number|
               from == thread && number.is_a?(Integer)
             end.map(&:last)).to eq((0...each).to_a)
    end
    # Only this publisher, because the engines of other examples may be gone.
    expect(NoDevent::Emitter.publisher.flush).to be(true)
    expect(listener).to be_empty
  end

  it "N-104 loses nothing while the configuration is replaced" do
    each = GC.stress ? 20 : 500
    threads = Array.new(4) { |thread| Thread.new { each.times { |number| emit([thread, number]) } } }
    while threads.any?(&:alive?)
      NoDevent::Emitter.config = { redis: { port: server.port }, publisher: { queue: 100_000 } }
      Thread.pass
    end
    threads.each(&:join)
    received = Array.new(4 * each) { listener.publication["message"] }
    expect(received).to match_array([0, 1, 2, 3].product((0...each).to_a))
  end

  # A race that threads rarely hit: the old publisher is closed already, and an emit must get the new one.
  it "N-104 emits while a publisher is being closed" do
    replaced = -> { NoDevent::Emitter.config = { redis: { port: server.port } } }
    [replaced, -> { NoDevent::Publisher.reset! }].each do |change|
      old = NoDevent::Emitter.publisher
      allow(old).to(receive(:close).and_wrap_original { |close| close.call.tap { emit("meanwhile") } })
      change.call
      expect(listener.publication["message"]).to eq("meanwhile")
      expect(old).to have_received(:close).once
    end
  end

  it "N-104 publishes from a fork of a fork, and starts its counts at zero" do
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

  it "N-104 does not send the parent's queue in a fork" do
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
    received = Listener.new(away, "/nodevent")
    NoDevent::Emitter.publisher.flush
    emit("end", wait: true)
    expect(received.publication["message"]).to be_an(Integer).or eq("end")
  ensure
    received&.stop
    away.stop
  end

  # Forks share the state of their parent's random generators, so idempotency keys must not depend on it.
  it "N-104 distinguishes the publications of sibling forks" do
    script(<<~RUBY)
      emit("parent", wait: true)
      4.times.map { |child| fork { 5.times { |number| emit([child, number]) } } }.each { |pid| Process.wait(pid) }
    RUBY
    received = Array.new(21) { listener.publication["message"] }
    expect(received.drop(1)).to match_array([0, 1, 2, 3].product([0, 1, 2, 3, 4]))
  end

  it "N-104 distinguishes the requests of sibling forks" do
    stub = StubServer.new { [200, '{"accepted":1}'] }
    script(<<~RUBY)
      NoDevent::Emitter.config = { url: "#{stub.url}" }
      emit("parent", wait: true)
      4.times.map { |child| fork { emit(child) } }.each { |pid| Process.wait(pid) }
    RUBY
    expect(Array.new(5) { stub.next.headers["idempotency-key"] }.uniq.size).to eq(5)
  ensure
    stub.stop
  end

  it "sends the queue at exit" do
    script("3.times { |number| emit(number) }")
    expect(Array.new(3) { listener.publication["message"] }).to eq([0, 1, 2])
  end

  it "sends what a child emits before exit!, if it flushes" do
    script("emit(0, wait: true); Process.wait(fork { emit(1); NoDevent.flush; exit! })")
    expect(Array.new(2) { listener.publication["message"] }).to eq([0, 1])
  end

  it "publishes after Process.daemon" do
    script("emit(0, wait: true); Process.daemon(true); emit(1, wait: true)")
    expect(Array.new(2) { listener.publication["message"] }).to eq([0, 1])
  end

  it "does not delay an exit while the engine is unavailable" do
    start = now
    out, err = Open3.capture3(RbConfig.ruby, "-I#{ROOT}/lib", "-e", <<~RUBY)
      require "nodevent"
      NoDevent::Emitter.config = { redis: { port: #{Ports.free} }, publisher: { shutdown_timeout: 20 } }
      NoDevent::Emitter.emit("r", "e", 1)
    RUBY
    expect(now - start).to be < 5
    expect(out).to eq("")
    expect(err).to match(/1 publication was not sent .* raise `publisher: { shutdown_timeout: }` \(now 20/)
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
      [:kill.to_proc, ->(thread) { thread.raise(IOError, "enough") }].each do |interrupt|
        thread = Thread.new do
          Thread.current.report_on_exception = false
          emit(1, wait: true, timeout: 30)
        rescue IOError => e
          e.message
        end
        eventually { thread.status == "sleep" }
        interrupt.call(thread)
        expect(thread.join(5)).to be(thread)
        expect(thread.value).to be_nil.or eq("enough")
      end
    end

    it "handles signals and continues to wait" do
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

    it "ends on Interrupt" do
      child = Process.spawn(RbConfig.ruby, "-I#{ROOT}/lib", "-e", <<~RUBY)
        require "nodevent"
        NoDevent::Emitter.config = { redis: { port: #{frozen.port} } }
        begin
          NoDevent::Emitter.emit("r", "e", 1, wait: true, timeout: 30)
        rescue Interrupt
          exit!(42)
        end
      RUBY
      # The child is waiting for the engine as soon as it is connected.
      eventually { frozen_connections(child) }
      Process.kill(:INT, child)
      expect(Process.wait2(child).last.exitstatus).to eq(42)
      child = nil
    ensure
      Process.kill(:KILL, child) && Process.wait(child) if child
    end

    # Without GC stress, because a busy machine has thousands of lines to read here.
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

  it "survives a garbage collection at every allocation, while publishers are replaced" do
    script(<<~RUBY)
      GC.stress = true # with the old ones too: this process has few
      2.times do |number|
        NoDevent::Emitter.config = { redis: { port: #{server.port} } }
        emit(number)
        emit("waited", wait: true)
      end
    RUBY
    expect(Array.new(4) { listener.publication["message"] }).to eq([0, "waited", 1, "waited"])
  end
end
