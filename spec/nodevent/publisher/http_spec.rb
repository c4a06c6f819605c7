# frozen_string_literal: true

require "nodevent/doctor"

RSpec.describe NoDevent::Publisher::BackgroundPublisher, :native do
  let(:errors) { Queue.new }
  let!(:handler) { NoDevent.on_error { |error| errors << error } }

  after do
    NoDevent::ErrorReporter.remove(handler)
    @stub&.stop
  end

  def stub(&answer)
    @stub = StubServer.new(&answer)
    NoDevent::Emitter.config = { url: @stub.url, publish_key: "sesame", namespace: "/a/b" }
    @stub
  end

  def emit(message, **options)
    NoDevent::Emitter.emit("r", "e", message, **options)
  end

  # The next report that matches; publishers of other examples may still report errors.
  def reported(pattern)
    eventually(pattern.inspect) { !errors.empty? && (error = errors.pop).message.match?(pattern) && error }
  end

  # Flushes only this publisher, because the engines of other examples may be gone.
  def flush(seconds = 5)
    NoDevent::Emitter.publisher.flush(seconds)
  end

  def accepted(request, position: nil)
    count = request.body.start_with?("[") ? request.json.size : 1
    [200, JSON.generate(accepted: count, positions: [position] * count)]
  end

  it "posts a publication to its namespace with the publish key" do
    stub { |request| accepted(request) }
    expect(emit("m", wait: true)).to be(true)
    request = @stub.next
    expect(request.path).to eq("/api/a%2Fb/emit")
    expect(request.headers).to include("authorization" => "Bearer sesame", "content-type" => "application/json")
    expect(request.body).to eq('{"room":"r","event":"e","message":"m"}')
  end

  it "returns the position if the server keeps a history" do
    stub { |request| accepted(request, position: "0123456789abcdef:7") }
    expect(emit("m", wait: true)).to eq("0123456789abcdef:7")
  end

  it "sends queued publications as one batch, in order, and retries a request with the same idempotency key" do
    first = true
    stub do |request|
      next accepted(request) unless first

      first = false
      nil
    end
    20.times { |number| emit(number) }
    expect(flush).to be(true)
    requests = Array.new(@stub.requests.size) { @stub.requests.pop }
    expect(requests[0].headers["idempotency-key"]).to eq(requests[1].headers["idempotency-key"])
    expect(requests[0].body).to eq(requests[1].body)
    numbers = requests.drop(1).flat_map { |request| [request.json].flatten(1).map { |each| each["message"] } }
    expect(numbers).to eq((0...20).to_a)
    expect(requests.drop(1).map { |request| request.headers["idempotency-key"] }.uniq.size).to eq(requests.size - 1)
  end

  it "sends a publication with an idempotency key in its own request" do
    stub { |request| accepted(request) }
    emit(1, idempotency_key: "order-1")
    emit(2, idempotency_key: "order-2")
    flush
    expect(Array.new(2) { @stub.next }.map { |each| [each.headers["idempotency-key"], each.json["message"]] })
      .to eq([["order-1", 1], ["order-2", 2]])
    expect { emit(1, idempotency_key: "ü" * 300) }.to raise_error(ArgumentError, /printable ASCII/)
  end

  it "retries what the server has not accepted while its engine is unavailable" do
    answers = [[503, '{"error":"unavailable","hint":"wait","accepted":2}']]
    stub { |request| (request.body.start_with?("[") && answers.shift) || accepted(request) }
    10.times { |number| emit(number) }
    flush
    seen = []
    until @stub.requests.empty?
      request = @stub.next
      seen << [request.json].flatten(1).map { |each| each["message"] }
    end
    cut = seen.index { |batch| batch.size > 1 }
    again = seen.take(cut).flatten + seen[cut].take(2) + seen.drop(cut + 1).flatten
    expect(again).to eq((0...10).to_a)
  end

  it "does not let one invalid publication make the others fail" do
    stub do |request|
      next accepted(request) unless request.body.include?("bad")

      [400, '{"error":"publication 0: it is bad","hint":"write a good one"}']
    end
    %w[a b bad c].each { |message| emit(message) }
    expect(flush).to be(true)
    good = []
    until @stub.requests.empty?
      request = @stub.next
      good.concat([request.json].flatten(1).map { |each| each["message"] }) unless request.body.include?("bad")
    end
    expect(good).to eq(%w[a b c])
    expect(reported(/returned 400: publication 0: it is bad; write a good one/).count).to eq(1)
  end

  it "does not let one publication that its key does not allow make the others fail" do
    stub do |request|
      next accepted(request) unless request.body.include?("foreign")

      [403, '{"error":"publication 0: this publish key may not publish to its room","hint":"send another key"}']
    end
    %w[a b foreign c].each { |message| emit(message) }
    expect(flush).to be(true)
    good = []
    until @stub.requests.empty?
      request = @stub.next
      good.concat([request.json].flatten(1).map { |each| each["message"] }) unless request.body.include?("foreign")
    end
    expect(good).to eq(%w[a b c])
    expect(reported(/returned 403: publication 0: this publish key may not publish/).count).to eq(1)
  end

  it "raises with the server's error and hint" do
    stub { [401, '{"error":"the publish key is wrong","hint":"write the right one"}'] }
    expect { emit(1, wait: true) }
      .to raise_error(NoDevent::PublishError,
                      "#{@stub.url} returned 401: the publish key is wrong; write the right one")
  end

  it "reports the response of a proxy" do
    stub { [404, "<html>\e[31mnot here</html>"] }
    expect { emit(1, wait: true) }
      .to raise_error(NoDevent::PublishError, /returned 404: <html> \[31mnot here.*; check that `url:`/)
  end

  it "N-81 N-105 reports the address and a hint if the server does not respond" do
    NoDevent::Emitter.config = { public_url: "http://127.0.0.1:#{Ports.free}" }
    expect { emit(1, wait: true, timeout: 0.3) }.to raise_error(
      NoDevent::PublishError,
      %r{no response from http://127.0.0.1:\d+ within 0.3 s: Connection refused.*withdrawn.*start the server with `nodevent`}
    )
    expect(emit(2)).to be(true)
    expect(reported(/\A#{NoDevent::Emitter.publisher.address} cannot be reached: Connection refused/).count).to eq(0)
  end

  it "N-81 says what to configure if there is nothing to publish to" do
    NoDevent::Emitter.config = { url: false }
    expect { emit(1) }.to raise_error(NoDevent::ConfigurationError, /set `redis:` or `url:`/)
    expect { NoDevent::Emitter.config = { url: "push.example.com" } }
      .to raise_error(NoDevent::ConfigurationError, "NoDevent::Emitter.config: url is not a URL; " \
                                                    "write http://localhost:8080")
  end

  describe "with the real server" do
    let(:server) { NodeventServer.new({ "/nodevent" => { "publish_key" => "sesame-open-wide-42" } }) }

    after { server.stop }

    it "N-76 publishes over HTTP" do
      NoDevent::Emitter.config = { public_url: server.url, publish_key: "sesame-open-wide-42" }
      expect(emit({ "a" => 1 }, wait: true)).to be(true).or match(/\A[^:]+:\d+\z/)
      many(2_000).times { |number| emit(number) }
      expect(flush).to be(true)
      # Publishers of other examples may still report errors.
      mine = Array.new(errors.size) { errors.pop.message }.grep(/#{Regexp.escape(server.url)}/)
      expect(mine).to be_empty
    end

    it "delivers in order, and once per idempotency key" do
      NoDevent::Emitter.config = { public_url: server.url, publish_key: "sesame-open-wide-42" }
      client = NoDevent::Doctor::PollingClient.new(server.url, "/nodevent", origin: server.url)
      client.join("r")
      positions = Array.new(2) { emit("paid", wait: true, idempotency_key: "order-12") }
      expect(positions.uniq).to match([/\A\h{16}:1\z/])
      10.times { |number| emit(number) }
      expect(Array.new(11) { client.publication["message"] }).to eq(["paid", *0..9])
    ensure
      client&.close
    end

    it "raises with its errors" do
      NoDevent::Emitter.config = { public_url: server.url, publish_key: "wrong" }
      expect { emit(1, wait: true) }.to raise_error(NoDevent::PublishError, /returned 401: .*publish key/)
      NoDevent::Emitter.config = { public_url: server.url, namespace: "/nowhere" }
      expect { emit(1, wait: true) }.to raise_error(NoDevent::PublishError, /returned 404/)
    end

    it "loses nothing during a restart" do
      NoDevent::Emitter.config = { public_url: server.url, publish_key: "sesame-open-wide-42" }
      before = NoDevent.stats
      500.times { |number| emit(number) }
      server.restart
      500.times { |number| emit(number) }
      expect(flush(10)).to be(true)
      expect(NoDevent.stats[:sent] - before[:sent]).to eq(1_000)
    end
  end
end
