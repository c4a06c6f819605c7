# frozen_string_literal: true

# Issue 17: signed names with the vectors of protocol/, and the tags of streams in pages that lose nothing.
#
# Cases: the vectors; Turbo's own verifier; a page with and without turbo-rails, over both engines; a server that does not respond;
# fragments for the cache; templates that are rendered for a broadcast; attributes of the template.
RSpec.describe "Streams of Turbo" do
  vectors = JSON.parse(File.read(File.join(ROOT, "protocol/vectors/action_cable.json")))
  keys = vectors["keys"].map { |key| Base64.strict_decode64(key["base64"]) }
  now = Time.at(vectors["now"] / 1000)

  describe NoDevent::Cable::StreamName do
    it "derives the keys of the vectors" do
      derived = %w[SHA256 SHA1].map { |digest| described_class.derive_key(vectors["secret_key_base"], digest) }
      expect(derived).to eq(keys.first(2))
    end

    vectors["accepted"].each do |vector|
      it "accepts #{vector['name'].inspect}, signed by #{vector['by']}" do
        expect(described_class.verify(vector["token"], keys, now: now)).to eq(vector["name"])
        next unless vector["expires"]

        before, after = [-1, 0].map { |seconds| Time.at((vector["expires"] / 1000) + seconds) }
        expect(described_class.verify(vector["token"], keys, now: before)).to eq(vector["name"])
        expect { described_class.verify(vector["token"], keys, now: after) }.to raise_error(/has expired/)
      end
    end

    vectors["rejected"].each do |vector|
      it "rejects #{vector['token'].inspect}" do
        expect { described_class.verify(vector["token"], keys, now: now) }
          .to raise_error(described_class::Invalid, vector["error"])
      end
    end

    it "signs as the vectors are signed" do
      plain = vectors["accepted"].select { |vector| vector["by"].match?(/\Athe (SHA-\d+|explicit) key\z/) }
      signed = plain.map { |vector| keys.map { |key| described_class.sign(vector["name"], key) } }
      expect(signed.zip(plain)).to all(satisfy { |tokens, vector| tokens.include?(vector["token"]) })
      expect(plain.size).to be > 3
    end

    it "names records by their global ids, and joins what names them" do
      record = Struct.new(:to_gid_param, :to_param).new("Z2lkOi8vYXBwL1Bvc3QvMQ", "1")
      expect(described_class.of([record, :comments])).to eq("Z2lkOi8vYXBwL1Bvc3QvMQ:comments")
      expect(described_class.of([[%w[a b], 7], "c"])).to eq("a:b:7:c")
      expect { described_class.of(["", nil]) }.to raise_error(ArgumentError, /a stream needs a name/)
    end
  end

  it "are signed outside of Rails with the key of the application, and in mails without a stamp" do
    helper = Object.new.extend(NoDevent::Cable::Helper)
    expect { helper.nodevent_cable_stream_from("posts") }.to raise_error(NoDevent::ConfigurationError, /write NoDevent::Cable.stream_key = /)
    NoDevent::Cable.stream_key = keys.last
    token = vectors["accepted"].find { |vector| vector["by"] == "the explicit key" }["token"]
    tag = %(<turbo-cable-stream-source channel="Turbo::StreamsChannel" signed-stream-name="#{token}"></turbo-cable-stream-source>)
    expect(helper.nodevent_cable_stream_from("posts")).to eq(tag)
    helper.define_singleton_method(:controller) { Object.new } # that of a mail
    helper.define_singleton_method(:request) { raise NoMethodError }
    expect(helper.nodevent_cable_stream_from("posts")).to eq(tag)
  ensure
    NoDevent::Cable.stream_key = nil
  end

  source = <<~'RUBY'
    class PagesController < ActionController::Base
      def up = head(:ok)
      def show = render(inline: '<%= turbo_stream_from "posts" %><%= turbo_stream_from "others", data: { since: 1 } %>')
      def own = render(inline: '<%= nodevent_cable_stream_from "posts", id: "a&b", data: { more_words: "<" } %>')
      def given = render(inline: '<%= turbo_stream_from "posts", data: { nodevent_since: "given", "nodevent-page": "own" } %>')
      def cached = render(inline: '<% cache "key" do %><%= turbo_stream_from "posts" %><% end %>')

      def elsewhere
        html = ApplicationController.render(inline: '<%= turbo_stream_from "posts" %>')
        render(plain: html)
      end

      def publish
        Array(params[:count].to_i).each { |count| count.times { |n| ActionCable.server.broadcast(params[:stream], n + params[:from].to_i) } }
        NoDevent.flush
        head :ok
      end
    end
    class ApplicationController < ActionController::Base; end
    App.routes.draw { %w[up show own given cached elsewhere publish].each { |name| match "/#{name}", to: "pages##{name}", via: :all } }
  RUBY

  define_method(:start) { |**options| @app = CableApp.new(source, calls: nil, **options) }

  attr_reader :app

  after { @app&.stop }

  # The subscriptions that the stock element makes of the tags of a page.
  def identifiers(html)
    html.scan(/<turbo-cable-stream-source (.*?)>/).flatten.map do |text|
      attributes = text.scan(/([\w-]+)="(.*?)"/).to_h.transform_values { |value| CGI.unescapeHTML(value) }
      data = attributes.select { |name, _| name.start_with?("data-") }
      JSON.generate({ channel: attributes["channel"], signed_stream_name: attributes["signed-stream-name"],
                      **data.transform_keys { |name| name.delete_prefix("data-").tr("-", "_").to_sym } })
    end
  end

  def page(path)
    response = app.get(path)
    expect(response.code).to eq("200")
    response.body
  end

  def publish(count, from: 0, stream: "posts")
    app.post("/publish?stream=#{stream}&count=#{count}&from=#{from}")
  end

  [true, false].each do |with_redis|
    it "lose nothing between rendering and subscribing, #{with_redis ? 'over Redis' : 'in memory'}" do
      redis = RedisServer.new if with_redis
      start(namespace: with_redis ? { "redis" => redis.url } : {})
      publish(3)
      %w[/show /own].each do |path|
        identifier = eventually("a page with a position", limit: 30) do
          identifiers(page(path)).first.then { |one| one if one.include?("nodevent_since") }
        end
        publish(50, from: 100)
        client = app.welcome
        expect(client.subscribe(identifier)).to eq(["confirm_subscription", (100..149).to_a])
        publish(1, from: 7)
        expect(client.message).to eq(7)
      end
    ensure
      redis&.stop
    end
  end

  it "have a position and the id of the page in the tag, besides what the template gives" do
    start
    publish(1)
    parse = ->(path) { identifiers(page(path)).map { |one| JSON.parse(one) } }
    first, second = eventually("positions") do
      all = parse.call("/show")
      all if all.all? { |one| one.key?("nodevent_since") }
    end
    expect(first["nodevent_since"]).to match(/\A\h{16}:1\z/)
    expect(first["nodevent_page"]).to match(/\A[A-Za-z0-9]{20}\z/)
    expect(second).to include("nodevent_page" => first["nodevent_page"], "since" => "1")
    expect(parse.call("/show").first["nodevent_page"]).not_to eq(first["nodevent_page"])
    expect(parse.call("/given").first).to include("nodevent_since" => "given", "nodevent_page" => "own")
    expect(page("/own")).to match(/ id="a&amp;b" .* data-more-words="&lt;"/).and include('channel="Turbo::StreamsChannel"')
  end

  it "have no stamp in what other pages receive too: fragments for the cache, and broadcasts" do
    start
    publish(1)
    %w[/cached /elsewhere].each do |path|
      expect(identifiers(page(path)).map { |one| JSON.parse(one).keys }).to eq([%w[channel signed_stream_name]]), path
    end
    expect(identifiers(page("/show")).first).to include("nodevent_page")
  end

  it "are rendered without a position while the server does not respond, and go on" do
    start
    publish(1)
    Process.kill(:STOP, app.server.pid)
    tags = Array.new(3) { identifiers(page("/own")).first }
    expect(tags).to all(include("nodevent_page"))
    Process.kill(:CONT, app.server.pid)
    client = app.welcome
    expect(client.subscribe(tags.last).first).to eq("confirm_subscription")
    publish(1, from: 9)
    expect(client.message).to eq(9)
  ensure
    Process.kill(:CONT, app.server.pid)
  end
end
