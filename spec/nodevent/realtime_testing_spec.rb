# frozen_string_literal: true

require "tmpdir"

# P-44: what applications test their pages with, run as they would run it. The tests of the guide are those of
# docs/from-pakyow-realtime.md.
RSpec.describe "Tests of pages" do
  chat = <<~'RUBY'
    require "rack"
    require "rack/mock"
    require "rack/session/cookie"

    def realtime(&block)
      app = Rack::Builder.app do
        use Rack::Session::Cookie, secret: "x" * 64
        use NoDevent::Realtime
        run ->(env) { block.call(NoDevent::Realtime.socket(env)) && [200, { "Content-Type" => "text/html" }, ["<body></body>"]] }
      end
      Rack::MockRequest.new(app).get("/")
    end

    def visit_chat
      realtime { |socket| socket.subscribe(:chat) && socket.push({ text: "Hello" }, :chat) }
    end
  RUBY

  # What a test file prints, under RSpec or Minitest.
  def run(text, *command)
    Dir.mktmpdir do |folder|
      path = File.join(folder, "example_spec.rb")
      File.write(path, text)
      environment = Children::CLEAN.merge("RUBYLIB" => "#{ROOT}/lib")
      Open3.capture2e(environment, *Children::LIMITED, *command, path, chdir: folder).first
    end
  end

  it "has questions and matchers for RSpec, as the guide says: P-44" do
    guide = File.read(File.join(ROOT, "docs/from-pakyow-realtime.md"))[/^## Tests\n.*?^```ruby\n(.*?)^```/m, 1]
    out = run("require \"nodevent/rspec\"\n#{chat}#{guide}", "rspec", "--no-color", "--options", File::NULL)
    expect(out).to include("1 example, 0 failures")
  end

  it "has matchers for RSpec that fail with what was recorded: P-44" do
    out = run(<<~RUBY, "rspec", "--no-color", "--options", File::NULL)
      require "nodevent/rspec"
      #{chat}
      RSpec.describe "an application" do
        it "passes" do
          page = nil
          realtime { |socket| page = socket.digest and socket.subscribe(:a, "b") and socket.unsubscribe(:a) and socket.push([1], "a", :b) }
          expect([subscribed?, subscribed?(:a, "b"), subscribed?(:a, :c), unsubscribed?("a"), unsubscribed?(:a, :b)]).to eq([true, true, false, true, false])
          expect([pushed?, pushed?([1]), pushed?([1], to: :a), pushed?([1], to: %w[a b]), pushed?([1], to: %w[a c]), pushed?([2])])
            .to eq([true, true, true, true, false, false])
          expect(NoDevent).to have_subscribed(:a, :b).for_page(page).once.and have_unsubscribed("a").for_page(page)
          expect(NoDevent).not_to have_subscribed(:a).for_page("0" * 40)
          expect { NoDevent::Realtime.push({ n: 1 }, "news*", "x") }.to have_pushed(a_hash_including("n" => 1)).to("news*", "x").once
          expect { NoDevent::Realtime.push_message_to_socket_with_key(3, :c, page) }.to have_pushed(3).to(:c).to_page(page)
          expect { NoDevent::Emitter.emit("room", "event") }.not_to have_pushed
          expect(NoDevent).to have_emitted.once
        end

        it("starts empty") { expect([subscribed?, unsubscribed?, pushed?]).to eq([false] * 3) }
        it("describes what is missing") { visit_chat; expect(NoDevent).to have_pushed([2]).to(:other).twice }
        it("describes what is unwanted") { visit_chat; expect(NoDevent).not_to have_subscribed(:chat) }
        it("describes another verb") { visit_chat; expect(NoDevent).to have_unsubscribed(:chat) }
      end
    RUBY
    expect(out).to include("5 examples, 3 failures")
    expect(out).to include(%(expected [2] to "other" twice to be pushed, but it was not pushed. Pushed:\n))
    expect(out).to include(%({"text":"Hello"} to "chat"))
    expect(out).to include(%(expected "chat" not to be subscribed, but it was subscribed once. Subscribed:\n))
    expect(out).to include(%(expected "chat" to be unsubscribed, but it was not unsubscribed. Nothing was unsubscribed.))
  end

  it "has assertions for Minitest: P-44" do
    out = run(<<~RUBY, RbConfig.ruby, "-rminitest/autorun")
      require "nodevent/minitest"
      #{chat}
      class ExampleTest < Minitest::Test
        def test_passes
          assert_subscribed(:chat, count: 1) { visit_chat }
          assert_pushed({ text: "Hello" }, to: :chat)
          assert_equal([true, false, true], [subscribed?(:chat), unsubscribed?, pushed?(Hash)])
          refute_subscribed(:other)
          refute_pushed({ text: "Bye" })
          assert_unsubscribed(:chat) { realtime { |socket| socket.unsubscribe(:chat) } }
        end

        def test_starts_empty = refute_pushed
        def test_says_what_is_missing = assert_subscribed(:chat)
      end
    RUBY
    expect(out).to match(/3 runs, \d+ assertions, 1 failures, 0 errors/)
    expect(out).to include(%(expected "chat" to be subscribed, but it was not subscribed. Nothing was subscribed.))
  end
end
