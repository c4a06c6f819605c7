# frozen_string_literal: true

require "tmpdir"

# What applications test with; run as they would run it.
RSpec.describe "NoDevent.test_mode!" do
  # The summary and failures of a test file, under RSpec or Minitest.
  def run(text, *command)
    env = command.first.is_a?(Hash) ? command.shift : {}
    Dir.mktmpdir do |folder|
      path = File.join(folder, "example_spec.rb")
      File.write(path, text)
      environment = Children::CLEAN.merge("RUBYLIB" => "#{ROOT}/lib").merge(env)
      Open3.capture2e(environment, *Children::LIMITED, *command, path, chdir: folder).first
    end
  end

  it "records publications and publishes none" do
    testing = NoDevent.test_mode!
    testing.clear
    expect(NoDevent::Emitter.emit("r", :e, { a: :b })).to be(true)
    expect(NoDevent::Emitter.emit("r", "f", nil, wait: true)).to eq(1)
    expect(testing.publications.map(&:to_h))
      .to eq([{ room: "r", event: "e", message: { "a" => "b" }, namespace: "/nodevent" },
              { room: "r", event: "f", message: nil, namespace: "/nodevent" }])
  ensure
    testing.stop
  end

  it "has a matcher for RSpec, in block and in value form, with counts" do
    out = run(<<~RUBY, "rspec", "--no-color", "--options", File::NULL)
      require "nodevent/rspec"
      Doc = Struct.new(:id) { include NoDevent::Base }
      RSpec.describe "an application" do
        def emit(room, event, message = nil) = NoDevent::Emitter.emit(room, event, message)

        it "passes" do
          expect { emit(Doc.new(1), :update, { title: "New", n: 1 }) }
            .to have_emitted("update").to(Doc.new(1)).with({ title: "New", n: 1 }).once
          expect { emit("r", "e", { "id" => 1, "x" => 2 }) }.to have_emitted.with(a_hash_including("id" => 1))
          expect(NoDevent).to have_emitted(:update).to("Doc_1").with(hash_including("n" => Integer))
          expect { 3.times { emit("r", "many") } }.to have_emitted("many").exactly(3).times.and have_emitted.to("r")
          expect { emit("r", "many") }.not_to have_emitted("other")
          expect(NoDevent).to have_emitted("many").exactly(2..4)
        end

        it("starts empty") { expect(NoDevent).not_to have_emitted }
        it("describes what is missing") { emit("r", "e", [1]); expect(NoDevent).to have_emitted("x").to("r").with([2]).twice }
        it("describes what is unwanted") { expect { emit("r", "e", 1) }.not_to have_emitted("e") }
      end
    RUBY
    expect(out).to include("4 examples, 2 failures")
    expect(out).to include(%(expected "x" to "r" with [2] twice to be emitted, but it was not emitted. Emitted:\n))
    expect(out).to include(%("e" to "r" with [1]))
    expect(out).to include(%(expected "e" not to be emitted, but it was emitted once.))
  end

  it "has assertions for Minitest, in block and in plain form, with counts" do
    out = run(<<~RUBY, RbConfig.ruby, "-rminitest/autorun")
      require "nodevent/minitest"
      class ApplicationTest < Minitest::Test
        def emit(*all) = NoDevent::Emitter.emit(*all)

        def test_passing
          found = assert_emitted("update", to: "r", with: { title: "New" }, count: 1) { emit("r", :update, { title: "New" }) }
          assert_equal "r", found.first.room
          assert_emitted
          refute_emitted("update") { emit("r", "other", 1) }
        end

        def test_empty = refute_emitted
        def test_missing = assert_emitted("x", to: "r") { emit("r", "e", 1) }
        def test_unwanted = refute_emitted("e") { emit("r", "e", 1) }
      end
    RUBY
    expect(out).to match(/4 runs, \d+ assertions, 2 failures, 0 errors/)
    expect(out).to include(%(expected "x" to "r" to be emitted, but it was not emitted. Emitted:\n  "e" to "r" with 1))
    expect(out).to include(%(expected "e" not to be emitted, but it was emitted once.))
  end

  # Issue 11, section E. Cases: Minitest's and Rails' parallel threads, Rails' parallel processes, threads and fibers that
  # a test starts, a thread pool that outlives its test, threads in RSpec, a server's thread that was there before.
  describe "with parallel tests" do
    # Each test emits as often as its number, waits for the others, and must see only its own.
    let(:test_class) do
      <<~RUBY
        BARRIER = Queue.new
        POOL = []
        6.times do |number|
          define_method("test_\#{number}") do
            BARRIER << true
            sleep 0.001 until BARRIER.size >= MEET
            (number + 1).times { |count| NoDevent::Emitter.emit("r", "e", [number, count]) }
            Thread.new { NoDevent::Emitter.emit("r", "thread", [number, 0]) }.join
            Thread.start(number, key: 1) { |own, key:| Thread.fork { NoDevent::Emitter.emit("r", "thread", [own, key]) }.join }.join
            Fiber.new { NoDevent::Emitter.emit("r", "fiber", [number, 0]) }.resume
            sleep 0.05
            assert_emitted("e", count: number + 1)
            assert_emitted("thread", count: 2)
            assert_emitted("fiber", count: 1)
            assert_equal([number], NoDevent::Testing.publications.map { |publication| publication.message.first }.uniq)
          end
        end
      RUBY
    end

    it "shows each test only its own publications with Minitest's parallelize_me!" do
      out = run(<<~RUBY, { "MT_CPU" => "6" }, RbConfig.ruby, "-rminitest/autorun")
        require "nodevent/minitest"
        MEET = 6
        class ApplicationTest < Minitest::Test
          parallelize_me!
          #{test_class}
        end
      RUBY
      expect(out).to match(/6 runs, \d+ assertions, 0 failures, 0 errors/)
    end

    %w[threads processes].each do |kind|
      it "shows each test only its own publications with Rails' parallelize(with: :#{kind})" do
        out = run(<<~RUBY, RbConfig.ruby, "-W0", "-rminitest/autorun")
          require "rails"
          require "active_support/test_case"
          require "active_support/testing/autorun"
          require "nodevent/minitest"
          # Rails 7.2 calls what Minitest 6 does not have any more.
          Minitest.define_singleton_method(:run_one_method) { |test, name| test.new(name).run } unless Minitest.respond_to?(:run_one_method)
          MEET = #{kind == 'threads' ? 3 : 1}
          class ApplicationTest < ActiveSupport::TestCase
            parallelize(workers: 3, with: :#{kind}, **(Rails.version >= "7" ? { threshold: 0 } : {}))
            #{test_class}
          end
        RUBY
        expect(out).to match(/6 runs, \d+ assertions, 0 failures, 0 errors/)
      end
    end

    it "follows threads in RSpec, and gives a server's thread to the running example" do
      out = run(<<~RUBY, "rspec", "--no-color", "--options", File::NULL)
        require "nodevent/rspec"
        REQUESTS = Queue.new
        SERVER = Thread.new { loop { REQUESTS.pop.call } }
        RSpec.describe "an application" do
          def emit(message, done = Queue.new) = (NoDevent::Emitter.emit("r", "e", message); done << true)

          3.times do |number|
            it "sees its own \#{number}" do
              done = Queue.new
              4.times { Thread.new { emit(number, done) } }
              REQUESTS << -> { emit("server", done) }
              5.times { done.pop }
              expect(NoDevent).to have_emitted("e").exactly(5)
              expect(NoDevent).to have_emitted("e").with(number).exactly(4)
              # A pool's thread that outlives its example does not take the next one's publications.
              $pool ||= Thread.new { loop { REQUESTS.pop.call } }
            end
          end
        end
      RUBY
      expect(out).to include("3 examples, 0 failures")
    end
  end
end
