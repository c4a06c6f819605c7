# frozen_string_literal: true

# Issue 11, section E: processes, threads, exits.
#
# Cases: `exit!` in a fork as Process.exit!, Kernel.exit! and a private method, with and without an engine, in the
# children of Parallel and of Resque; the first `emit` in a signal handler, in `at_exit` (registered before and inside
# another), in a finalizer during and at the end of the process, in a Ractor, under a fiber scheduler, in
# Timeout.timeout, in each with `wait: true`.
RSpec.describe "The first emit" do
  let(:server) { RedisServer.shared }
  let(:listener) { Listener.new(server, "/exits") }

  before { listener }
  after { listener.stop }

  # Standard output and error of a script that has not emitted yet.
  def script(body, port: server.port, **options)
    settings = { namespace: "/exits", redis: { port: port }, publisher: { shutdown_timeout: "2s" } }.merge(options)
    Open3.capture2e(Children::CLEAN, *Children::LIMITED, RbConfig.ruby, "-W:no-experimental", "-I#{ROOT}/lib", "-e", <<~RUBY).first
      require "nodevent"
      NoDevent::Emitter.config = #{settings.inspect}
      def emit(message = 1, **options) = NoDevent::Emitter.emit("r", "e", message, **options)
      #{body}
    RUBY
  end

  def message
    listener.publication["message"]
  end

  describe "before exit!" do
    it "is counted and reported, whatever form of exit! the process uses" do
      ["exit!(true)", "exit!", "Process.exit!(0)", "Kernel.exit!"].each do |exit|
        out = script(<<~RUBY, port: Ports.free)
          $stdout.sync = true
          NoDevent.on_error { |error| puts "count \#{error.count}" }
          Process.wait(fork { 3.times { emit }; #{exit} })
        RUBY
        expect([exit, out]).to match([exit, /: 3 publications were not sent, because exit! skips the flush.*\n.*count 3\n/m])
      end
    end

    it "is silent if there is nothing to send, and keeps the status" do
      expect(script("emit(1, wait: true); pid = fork { exit!(7) }; p Process.wait2(pid).last.exitstatus")).to eq("7\n")
      expect(message).to eq(1)
    end

    # A real library that leaves its children with Process.exit!.
    it "is sent in the children of Parallel" do
      out = script(%(require "parallel"; Parallel.each([1, 2, 3], in_processes: 2) { |number| emit(number) }))
      expect([out, Array.new(3) { message }.sort]).to eq(["", [1, 2, 3]])
    end

    # The gem Resque itself is not tested: Debian has no package of it in any of its suites, the other registries have
    # none that contains it, and there is no access to RubyGems here. So these workers end their children in each of the
    # ways in which those of Resque do: `exit!(true)` until 1.24, `exit!` since, `exit` with RUN_AT_EXIT_HOOKS, and after a
    # job that was interrupted by a TermException.
    ["exit!(true)", "exit!", "exit"].each do |exit|
      it "is sent in the children of Resque, which end with #{exit}" do
        out = script(<<~RUBY)
          module Resque
            class TermException < SignalException; end
            class Worker
              def work(job)
                Process.wait(fork { perform(job); #{exit} })
              end

              def perform(job)
                trap("TERM") { raise TermException, "SIGTERM" }
                job.call
              rescue Object
                nil
              end
            end
          end
          worker = Resque::Worker.new
          worker.work(-> { emit(0) })
          worker.work(-> { emit(1); Process.kill("TERM", Process.pid); sleep })
          worker.work(-> { 500.times { |number| emit(2 + number) } })
        RUBY
        expect([out, Array.new(502) { message }]).to eq(["", [*0...502]])
      end
    end

    it "is reported in the children of Resque if the engine is unavailable, without delaying them" do
      start = now
      out = script("module Resque; class Worker; end; end; Process.wait(fork { emit; exit!(true) })", port: Ports.free)
      expect(out).to match(/cannot be reached.*\n.*1 publication was not sent before the exit/m)
      expect(now - start).to be < 5
    end
  end

  it "works in a signal handler, with and without wait: true" do
    { "emit(1)" => [1], "emit(2, wait: true)" => [2], "3.times { |number| emit(number) }" => [0, 1, 2] }.each do |call, sent|
      out = script(<<~RUBY)
        done = false
        trap(:USR1) { begin; #{call}; rescue Exception => e; puts e.class; end; done = true }
        Process.kill(:USR1, Process.pid)
        sleep 0.01 until done
      RUBY
      expect([call, out, Array.new(sent.size) { message }]).to eq([call, "", sent])
    end
  end

  it "works in a signal handler that interrupts an emit, a configuration and a recording" do
    out = script(<<~RUBY)
      require "nodevent/testing"
      trap(:USR1) { begin; emit("trap"); rescue Exception => e; puts "\#{e.class}: \#{e.message}"; end }
      killer = Thread.new { loop { Process.kill(:USR1, Process.pid); sleep 0.001 } }
      300.times do |number|
        NoDevent::Emitter.config = NoDevent::Emitter.config if (number % 20).zero?
        emit("main")
      end
      NoDevent.test_mode!
      300.times { emit("recorded") }
      killer.kill
      killer.join
      NoDevent::Testing.stop
      puts "done"
    RUBY
    expect(out).to eq("done\n")
    received = Array.new(300) { message }
    received << message until received.count("main") == 300
    expect(received.uniq).to contain_exactly("main", "trap").or eq(["main"])
  end

  it "works in at_exit, whenever the block was registered" do
    expect(script("at_exit { emit(1) }")).to eq("")
    expect(script("at_exit { emit(2, wait: true) }")).to eq("")
    expect(script("at_exit { emit(4) }; emit(3)")).to eq("")
    expect(script("at_exit { at_exit { emit(5) } }")).to eq("")
    expect(Array.new(5) { message }).to eq([1, 2, 3, 4, 5])
  end

  it "is reported if it is made in at_exit while the engine is unavailable" do
    expect(script("at_exit { emit(2) }; emit(1)", port: Ports.free))
      .to match(/1 publication was not sent before the exit.*2 publications were not sent before the exit/m)
  end

  it "works in a finalizer, during the process and at its end" do
    expect(script("ObjectSpace.define_finalizer(Object.new, proc { emit(1) }); GC.start")).to eq("")
    expect(script("KEPT = Object.new; ObjectSpace.define_finalizer(KEPT, proc { emit(2) })")).to eq("")
    expect(script("emit(3); KEPT = Object.new; ObjectSpace.define_finalizer(KEPT, proc { emit(4) })")).to eq("")
    expect(script("ObjectSpace.each_object(Class).first(3).each { emit(5) }")).to eq("")
    expect(Array.new(7) { message }).to eq([1, 2, 3, 4, 5, 5, 5])
  end

  it "raises a specific error in a Ractor, and works again in the main one" do
    out = script(<<~RUBY)
      class Thing; include NoDevent::Base; def id = 1; end
      calls = ["NoDevent::Emitter.emit('r', 'e', 1)", "Thing.new.emit('e', 1)", "Thing.emit('e', 1)"]
      3.times do |index|
        puts(Ractor.new(calls[index]) do |call|
          eval(call)
        rescue Exception => e
          "\#{e.class}: \#{e.message[0, 55]}"
        end.take)
      end
      emit(1)
    RUBY
    expect(out).to eq("NoDevent::PublishError: NoDevent cannot emit in a Ractor other than the main on\n" * 3)
    expect(message).to eq(1)
  end

  it "works under a fiber scheduler" do
    out = script(<<~RUBY)
      # The smallest scheduler that Ruby accepts: it runs ready fibers and sleeps for the others.
      class Scheduler
        def initialize = (@ready, @sleeping, @lock = [], {}, Thread::Mutex.new)
        def run
          until @ready.empty? && @sleeping.empty?
            ready, @ready = @lock.synchronize { [@ready, []] }
            ready.each { |fiber| fiber.resume if fiber.alive? }
            due, = @sleeping.select { |_, time| time <= now }, nil
            due.each_key { |fiber| @sleeping.delete(fiber); fiber.resume }
            Kernel.instance_method(:sleep).bind_call(self, 0.001) if @ready.empty?
          end
        end
        def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
        def close = run
        def fiber(&block) = Fiber.new(blocking: false, &block).tap(&:resume)
        def kernel_sleep(duration = 0) = (@sleeping[Fiber.current] = now + duration; Fiber.yield)
        def block(_blocker, timeout = nil) = (timeout ? kernel_sleep(timeout) : Fiber.yield)
        def unblock(_blocker, fiber) = @lock.synchronize { @ready << fiber }
        def io_wait(io, events, _timeout) = (IO.select([io], nil, nil, 1); events)
      end
      Thread.new do
        Fiber.set_scheduler(Scheduler.new)
        Fiber.schedule { emit(1) }
        Fiber.schedule { sleep 0.01; emit(2, wait: true) }
      end.join
    RUBY
    expect([out, Array.new(2) { message }]).to eq(["", [1, 2]])
  end

  it "works in Timeout.timeout, and in a thread that is killed afterwards" do
    expect(script('require "timeout"; Timeout.timeout(5) { emit(1); emit(2, wait: true) }')).to eq("")
    expect(script("Thread.new { emit(3) }.join.kill")).to eq("")
    expect(Array.new(3) { message }).to eq([1, 2, 3])
  end
end
