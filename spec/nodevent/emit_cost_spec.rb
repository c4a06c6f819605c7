# frozen_string_literal: true

# Cases of the text: every kind of value that JSON has, nested, with names that need escapes, custom classes, with Ruby's
# json and with Active Support's; and what each of them rejects.
RSpec.describe "The cost and the text of emit" do
  # Objects that the calling thread allocates.
  def allocated(&block)
    GC.disable
    before = GC.stat(:total_allocated_objects)
    100.times(&block)
    (GC.stat(:total_allocated_objects) - before) / 100
  ensure
    GC.enable
  end

  it "allocates nothing besides the JSON" do
    NoDevent::Emitter.config = { redis: { port: RedisServer.shared.port } }
    message = { "id" => 12, "title" => "A discussion", "author" => { "name" => "Ada" } }
    NoDevent::Emitter.emit("Room_12", "update", message, wait: true)
    json = allocated { |_| message.to_json }
    expect(json).to be_positive
    expect(allocated { |_| NoDevent::Emitter.emit("Room_12", "update", message) }).to be <= json
    expect(allocated { |_| NoDevent::Emitter.emit("Room_12", :update, message) }).to be <= json
    expect(allocated { |_| NoDevent::Emitter.emit("Room_12", "gong") }).to eq(0)
    expect(NoDevent.flush(10)).to be(true)
  end

  it "allocates nothing besides the JSON for a record" do
    NoDevent::Emitter.config = { redis: { port: RedisServer.shared.port } }
    stub_const("Discussion", Struct.new(:id) { include NoDevent::Base })
    discussion = Discussion.new(12)
    message = { "id" => 12 }
    2.times { NoDevent::Emitter.emit(discussion, "update", message) && discussion.emit("update", message) }
    json = allocated { |_| message.to_json }
    expect(json).to be_positive
    expect(allocated { |_| NoDevent::Emitter.emit(discussion, "update", message) }).to be <= json
    expect(allocated { |_| discussion.emit("update", message) }).to be <= json
    expect(allocated { |_| discussion.nodevent_emit(:update, message) }).to be <= json
    expect(NoDevent.flush(10)).to be(true)
  end

  # Compares what is published with the JSON of a Hash, for random values. Prints the number of comparisons.
  COMPARE = <<~'RUBY'
    require "nodevent"
    require "set"
    require "redis"
    require "bigdecimal"
    require "date"
    Point = Struct.new(:x, :y)
    class Custom
      def initialize(value) = @value = value
      def to_json(*arguments) = { custom: @value }.to_json(*arguments)
      def as_json(*) = { "as" => @value }
    end
    class Sub < Hash; end
    class Named < String; end
    TEXTS = ["", "a", "ü☃😀", "</script><!--&", "\u2028\u2029", "nul\0\n\t\x7f\"\\/", "x" * 300, Named.new("<n>"),
             "latin \xFC".dup.force_encoding("ISO-8859-1")].freeze
    RNG = Random.new(Integer(ENV.fetch("SEED", Random.new_seed.to_s)))
    def one(list) = list[RNG.rand(list.size)]
    def value(depth = 0)
      case RNG.rand(depth > 3 ? 14 : 20)
      when 0 then nil
      when 1 then one([true, false])
      when 2 then RNG.rand(-10**20..10**20)
      when 3 then RNG.rand - 0.5
      when 4, 5 then one(TEXTS)
      when 6 then one(%i[a <b> ü])
      when 7 then Time.at(RNG.rand(2**31), RNG.rand(10**6), :usec)
      when 8 then Date.new(2026, 1, 1 + RNG.rand(28))
      when 9 then BigDecimal(RNG.rand.to_s)
      when 10 then Point.new(RNG.rand(9), "<x>")
      when 11 then Custom.new(one(TEXTS.first(7)))
      when 12 then one([1r, 1..3, 1i, Object, Set[1, 2]])
      when 13 then DateTime.new(2026, 1, 1)
      when 14..16 then Array.new(RNG.rand(4)) { value(depth + 1) }
      when 17 then Sub.new.merge!("sub" => value(depth + 1))
      else Array.new(RNG.rand(4)) { [one([*TEXTS.first(7), :sym, 1, nil, 1.5]), value(depth + 1)] }.to_h
      end
    end
    # What the native publisher is given, from the queue to Redis.
    redis = Redis.new(url: ENV.fetch("REDIS"))
    got = Queue.new
    ready = Queue.new
    Thread.new do
      Redis.new(url: ENV.fetch("REDIS")).subscribe("/compared") do |on|
        on.subscribe { ready << true }
        on.message { |_, text| got << text }
      end
    end
    ready.pop
    NoDevent::Emitter.config = { namespace: "/compared", history: "off", redis: { url: ENV.fetch("REDIS") } }
    names = ["r", "a room", "ü", "</b>&", "\"q\"", "x\u2028", "a\\b", "n\nl", "del\x7f", :sym, "a/b"]
    compared = 0
    wanted = []
    Integer(ENV.fetch("COUNT")).times do
      room, event, message = one(names), one(names), value
      begin
        text = { room: room.to_s, event: event.to_s, message: message }.to_json.encode("UTF-8")
        JSON.parse(text, allow_duplicate_key: true)
      rescue StandardError => e
        text = e
      end
      begin
        one([true, false]) ? NoDevent::Emitter.emit(room, event, message) : NoDevent::Emitter.emit(room, event, message, wait: true)
        abort "accepted what to_json rejects (#{text.inspect}): #{message.inspect}" unless text.is_a?(String)
        wanted << text
      rescue NoDevent::EncodingError => e
        abort "rejected #{message.inspect}: #{e.message}" if text.is_a?(String)
      end
    end
    NoDevent.flush(20) or abort "not flushed"
    wanted.each do |text|
      received = got.pop
      abort "seed #{RNG.seed}: #{received}\ninstead of\n#{text}" unless received == text
      compared += 1
    end
    puts compared
  RUBY

  def compare(before)
    env = { "REDIS" => "redis://127.0.0.1:#{RedisServer.shared.port}",
            "COUNT" => ENV.key?("NODEVENT_TEST_FULL") ? "50000" : "1500" }
    Integer(ruby("#{before}\n#{COMPARE}", env: env))
  end

  it "has the text of Hash#to_json" do
    expect(compare("")).to be > 1000
  end

  it "has the text of Hash#to_json under Active Support" do
    expect(compare("require 'active_support/all'; ActiveSupport.to_time_preserves_timezone = :zone rescue nil"))
      .to be > 1000
  end

  it "writes HTML entities as Active Support is configured to" do
    out = ruby(<<~RUBY)
      require "active_support/all"
      require "nodevent"
      publisher = Object.new
      def publisher.publish(_, json) = puts(json)
      NoDevent::Emitter.publisher = publisher
      [true, false].each do |escaped|
        ActiveSupport::JSON::Encoding.escape_html_entities_in_json = escaped
        NoDevent::Emitter.emit("<r>", "e", "</script>")
        puts({ room: "<r>", event: "e", message: "</script>" }.to_json)
      end
    RUBY
    lines = out.lines
    expect(lines.values_at(0, 2)).to eq(lines.values_at(1, 3))
    expect(lines[0]).not_to eq(lines[2])
  end

  it "nests as deep as to_json with each publisher" do
    nested = ->(depth) { (1..depth).reduce(0) { |inner, _| [inner] } }
    NoDevent::Emitter.config = { redis: { port: RedisServer.shared.port } }
    NoDevent::Emitter.emit("r", "e", nested.call(99), wait: true)
    [nil, Recorder.new].each do |publisher|
      NoDevent::Emitter.publisher = publisher
      expect(NoDevent::Emitter.emit("r", "e", nested.call(99))).to be_truthy
      [nested.call(100), { "a" => nested.call(99) }].each do |message|
        expect { NoDevent::Emitter.emit("r", "e", message) }.to raise_error(NoDevent::EncodingError, /nested more than 100/)
      end
    end
  end
end
