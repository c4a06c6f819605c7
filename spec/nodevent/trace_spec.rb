# frozen_string_literal: true

# X-06: a sampled publication has a trace, which travels with the publication, and clients do not see it.
RSpec.describe NoDevent::Trace, :native do
  traced = /\A\{"traceparent":"00-[0-9a-f]{32}-[0-9a-f]{16}-01","room":"r","event":"e","message":\d+\}\z/

  def emit(message, **options)
    NoDevent::Emitter.emit("r", "e", message, **options)
  end

  def configure(rate, **settings)
    NoDevent::Emitter.config = { publisher: { trace_sample_rate: rate } }.merge(settings)
  end

  # What is published to Redis, as text.
  def published(rate, count)
    redis = RedisServer.shared
    configure(rate, redis: { port: redis.port }, history: "off", namespace: "/traces")
    listener = Listener.new(redis, "/traces")
    count.times { |number| emit(number) }
    listener.take(count)
  ensure
    listener&.stop
  end

  it "is off by default and costs nothing" do
    expect(NoDevent::Emitter.config.publisher.trace_sample_rate).to eq(0.0)
    expect(published(0, 20)).to eq(Array.new(20) { |number| %({"room":"r","event":"e","message":#{number}}) })
  end

  it "is the first member of each publication to Redis that is sampled" do
    texts = published(1, 20)
    expect(texts).to all(match(traced))
    expect(texts.map { |text| text[/00-\h+-\h+/] }.uniq.size).to eq(20)
    expect(texts.map { |text| JSON.parse(text)["message"] }).to eq((0...20).to_a)
  end

  it "samples a share of the publications" do
    sampled = published(0.5, 400).grep(traced).size
    # Far beyond what chance does.
    expect(sampled).to be_between(100, 300)
  end

  it "is in the body of a publish over HTTP, with its options" do
    stub = StubServer.new { [200, JSON.generate(accepted: 1, positions: [nil])] }
    configure(1, url: stub.url, publish_key: "sesame")
    emit(1, wait: true)
    emit({ a: 2 }, wait: true, idempotency_key: "k")
    expect(stub.next.body).to match(traced)
    expect(stub.next.json).to include("traceparent" => /\A00-/, "message" => { "a" => 2 })
  ensure
    stub&.stop
  end

  it "does not make a publication too large for the server" do
    stub = StubServer.new { [200, JSON.generate(accepted: 1, positions: [nil])] }
    configure(1, url: stub.url, publish_key: "sesame", limits: { max_publish_size: 200 }, history: "off")
    emit("x" * 140, wait: true)
    expect(stub.next.body).to eq(%({"room":"r","event":"e","message":"#{'x' * 140}"}))
  ensure
    stub&.stop
  end

  it "has spans of the server from the emit to the write, over Redis and over HTTP" do
    receiver = StubServer.new { [200, "{}"] }
    redis = RedisServer.shared
    server = NodeventServer.new({ "publish" => "local", "traces" => { "url" => "#{receiver.url}/v1/traces" },
                                  "/redis-traces" => { "redis" => redis.url, "open" => true },
                                  "/http-traces" => { "open" => true } })
    [[:redis, %w[engine]], [:http, %w[publish engine]]].each do |kind, steps|
      namespace = "/#{kind}-traces"
      target = kind == :redis ? { redis: { port: redis.port } } : { url: server.url }
      # A member, because a server does not follow rooms of others in Redis.
      member = EventStream.new(server, namespace)
      # The first publication of all to a Redis is one that the server reads from the history, which has no traces.
      configure(0, namespace: namespace, **target)
      emit(6, wait: true)
      expect(member.next).to include('"message":6')
      configure(1, namespace: namespace, **target)
      emit(7, wait: true)
      expect(member.next).to include('"message":7').and(satisfy { |text| !text.include?("traceparent") })
      names = []
      expected = (steps + %w[fan-out write]).map { |step| "nodevent #{step}" }
      eventually("the spans of #{kind}") do
        request = receiver.next
        spans = request.json.dig("resourceSpans", 0, "scopeSpans", 0, "spans")
        names.concat(spans.map { |span| span["name"] })
        (expected - names).empty?
      end
      expect(names.uniq).to match_array(expected)
    ensure
      member&.stop
    end
  ensure
    server&.stop
    receiver&.stop
  end

  # The SDK is not among Debian's packages, so this is its documented interface: `OpenTelemetry::Trace.current_span`.
  describe "with the SDK of OpenTelemetry" do
    def run_in_span(sampled:)
      flags = Struct.new(:sampled?).new(sampled)
      context = Struct.new(:hex_trace_id, :hex_span_id, :trace_flags, :valid?).new("ab" * 16, "cd" * 8, flags, true)
      span = Struct.new(:context).new(context)
      stub_const("OpenTelemetry::SDK", Module.new)
      stub_const("OpenTelemetry::Trace", Struct.new(:current_span).new(span))
    end

    it "is that of the current span, whatever the own rate is" do
      run_in_span(sampled: true)
      own = %({"traceparent":"00-#{'ab' * 16}-#{'cd' * 8}-01",)
      expect(published(0, 3)).to all(start_with("#{own}\"room\":\"r\""))
      expect(published(1, 3)).to all(start_with("#{own}\"room\":\"r\""))
    end

    it "is none if the current span is not sampled" do
      run_in_span(sampled: false)
      expect(published(1, 3)).to all(start_with('{"room":"r"'))
    end
  end
end
