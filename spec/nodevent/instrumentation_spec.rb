# frozen_string_literal: true

RSpec.describe NoDevent::Instrumentation do
  include RailsApp

  it "notifies subscribers of emits, publishes and errors" do
    out = rails(<<~RUBY)
      seen = Queue.new
      %w[emit publish error].each do |name|
        ActiveSupport::Notifications.subscribe("\#{name}.nodevent") { |*args| seen << [name, args.last] }
      end
      # Other examples use the shared Redis with other secrets, which is reported; so this namespace is its own.
      NoDevent::Emitter.config = { namespace: "/instrumented", redis: { port: #{RedisServer.shared.port} } }
      NoDevent::Emitter.emit("lobby", "open", 1, wait: true)
      first = Array.new(2) { seen.pop }.to_h
      puts first["emit"].to_json, first["publish"].except(:seconds).to_json, first["publish"][:seconds].positive?
      NoDevent::Emitter.publisher = Object.new.tap { |o| o.define_singleton_method(:publish) { |*| raise IOError, "gone" } }
      p NoDevent::Emitter.emit("lobby", "open", 1)
      second = Array.new(2) { seen.pop }.to_h
      p second["error"][:error].message.split(";").first
    RUBY
    expect(out).to eq(<<~TEXT)
      {"room":"lobby","event":"open","channel":"/instrumented","bytes":43,"result":0}
      {"count":1,"address":"redis://localhost:#{RedisServer.shared.port}/0"}
      true
      false
      "Object#publish failed: IOError: gone"
    TEXT
  end

  it "reports batches with count, latency and address" do
    out = rails(<<~RUBY)
      seen = Queue.new
      ActiveSupport::Notifications.subscribe("publish.nodevent") { |*args| seen << args.last }
      NoDevent::Emitter.config = { redis: { port: #{RedisServer.shared.port} } }
      NoDevent::Emitter.emit("lobby", "open", 0)
      NoDevent.flush
      99.times { |number| NoDevent::Emitter.emit("lobby", "open", number) }
      sum = 0
      while sum < 100
        payload = seen.pop
        sum += payload[:count]
        abort "wrong: \#{payload}" unless payload[:seconds].between?(0, 5) && payload[:address].start_with?("redis://")
      end
      p sum
    RUBY
    expect(out).to eq("100\n")
  end

  it "logs each emit in Rails' log at level debug" do
    rails(%(NoDevent::Emitter.emit("lobby", "open", 1)))
    expect(@rails_log).to match(/NoDevent emit.*\(\d+\.\d+ms\)  open → lobby \(43 bytes\)/)
  end
end

RSpec.describe NoDevent::ErrorReporter do
  # A publisher that does only this.
  def publisher(&publish)
    Object.new.tap { |object| object.define_singleton_method(:publish, &publish) }
  end

  it "calls every handler, even if one raises" do
    seen = []
    handlers = [NoDevent.on_error { raise "mine" }, NoDevent.on_error { |error| seen << error.message }]
    NoDevent::Emitter.publisher = publisher { |*| raise IOError, "gone" }
    before = NoDevent.stats[:failed]
    expect(NoDevent::Emitter.emit("r", "e", 1)).to be(false)
    expect(seen).to match([/\AObject#publish failed: IOError: gone; check that its target is running, or/])
    expect(NoDevent.stats[:failed] - before).to eq(1)
    expect(@log.string).to include("a handler given to NoDevent.on_error raised RuntimeError: mine")
    expect { NoDevent::Emitter.emit("r", "e", 1, wait: true) }.to raise_error(NoDevent::PublishError, /gone/)
  ensure
    handlers.each { |handler| described_class.remove(handler) }
  end

  it "does not hide programming errors" do
    NoDevent::Emitter.publisher = publisher { |*| nonsense }
    expect { NoDevent::Emitter.emit("r", "e", 1) }.to raise_error(NameError)
    expect { NoDevent.on_error }.to raise_error(ArgumentError, /needs a block/)
  end

  it "N-81 reports failures of $redis" do
    $redis = Redis.new(port: Ports.free) # rubocop:disable Style/GlobalVars
    expect(NoDevent::Emitter.emit("r", "e", 1)).to be(false)
    expect(@log.string).to match(/Redis#publish failed: Redis::CannotConnectError/)
    expect { NoDevent::Emitter.emit("r", "e", 1, idempotency_key: "k") }
      .to raise_error(ArgumentError, /Redis#publish does not accept idempotency_key; configure `redis:` or `url:`/)
  end
end
