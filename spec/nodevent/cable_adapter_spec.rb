# frozen_string_literal: true

# Issue 17: `adapter: nodevent` in config/cable.yml, in a Rails application, with the real server.
#
# Cases: publishing over HTTP and over Redis; JSON that is not changed; broadcasts of models, now and later; receiving, with
# a lost connection; what is missing in the configuration; the test adapter.
RSpec.describe "adapter: nodevent" do
  include RailsApp

  secret_key_base = "x" * 40 # that of RailsApp
  publish_key = CableApp::PUBLISH_KEY

  define_method(:settings) do |redis = nil|
    { "protocol" => "action_cable", "publish_key" => publish_key,
      "action_cable" => { "secret_key_base" => secret_key_base }, **(redis ? { "redis" => redis.url } : {}) }
  end

  # A server for each engine, with what the application has as its configuration.
  def servers
    redis = RedisServer.new
    [settings, settings(redis)].each do |namespace|
      server = NodeventServer.new({ "/cable" => namespace })
      address = namespace["redis"] ? {} : { "url" => server.url }
      yield server, YAML.dump(address.merge("public_url" => server.url, "/cable" => namespace))
    ensure
      server&.stop
    end
  ensure
    redis&.stop
  end

  # Runs a script in an application whose `config/cable.yml` has these lines.
  def app(configuration, script, cable: "", settings: "", env: {})
    files = { "config/nodevent.yml" => configuration,
              "config/cable.yml" => "development:\n  adapter: nodevent\n#{cable}" }
    rails("#{TurboRails::SOURCE}\n#{script}", files: files, settings: "require \"action_cable/engine\"\n#{settings}", env: env)
  end

  def turbo(stream, key = NoDevent::Cable::StreamName.derive_key("x" * 40))
    JSON.generate(channel: "Turbo::StreamsChannel", signed_stream_name: NoDevent::Cable::StreamName.sign(stream, key))
  end

  it "publishes what the application broadcasts, over HTTP and over Redis, as it was written" do
    servers do |server, configuration|
      client = CableClient.welcome(server.port)
      expect(client.subscribe(turbo("posts")).first).to eq("confirm_subscription")
      out = app(configuration, <<~'RUBY')
        p ActionCable.server.pubsub.class
        p ActionCable.server.broadcast("posts", { title: "<b>ä</b>", price: 1.5, tags: [nil, true] })
        ActionCable.server.broadcast("posts", "<turbo-stream></turbo-stream>")
        ActionCable.server.pubsub.broadcast("posts", '{"raw": 1.50}')
        begin
          ActionCable.server.pubsub.broadcast("posts", '1,"room":"other"')
        rescue NoDevent::EncodingError => e
          puts e.message
        end
        p ActionCable.server.remote_connections.class
        NoDevent.flush
      RUBY
      error = 'cannot convert the message of "broadcast" to "posts" to JSON: the message is not JSON'
      expect(out.lines.map(&:chomp)).to eq(["NoDevent::Cable::Adapter", "true", error, "ActionCable::RemoteConnections"])
      expect(Array.new(3) { client.message }).to eq([{ "title" => "<b>ä</b>", "price" => 1.5, "tags" => [nil, true] },
                                                     "<turbo-stream></turbo-stream>", { "raw" => 1.5 }])
    end
  end

  it "publishes what models broadcast, at once and in jobs" do
    servers do |server, configuration|
      client = CableClient.welcome(server.port)
      %w[posts some_models].each { |stream| client.subscribe(turbo(stream)) }
      app(configuration, <<~'RUBY')
        class SomeModel < ActiveRecord::Base
          include Turbo::Broadcastable
          broadcasts_to ->(_) { "posts" }
        end
        class Other < ActiveRecord::Base
          self.table_name = "some_models"
          def self.model_name = ActiveModel::Name.new(SomeModel)
          include Turbo::Broadcastable
          broadcasts_refreshes
        end
        one = SomeModel.create!(title: "First")
        one.destroy
        Other.create!(title: "Second")
        NoDevent.flush
      RUBY
      expect([client.message, client.message]).to match([a_string_including('action="append"', "First"), a_string_including('action="remove"')])
      expect(client.message).to eq('<turbo-stream action="refresh"></turbo-stream>')
    end
  end

  it "receives for code in Ruby, in order, also what was published while the connection was lost" do
    servers do |_server, configuration|
      out = app(configuration, <<~RUBY, cable: "  receive: true\n")
        received, confirmed = Queue.new, Queue.new
        callback = ->(json) { received << JSON.parse(json) }
        pubsub = ActionCable.server.pubsub
        pubsub.subscribe("posts", callback, -> { confirmed << "posts" })
        pubsub.subscribe("posts", callback2 = ->(json) { received << "second" })
        pubsub.subscribe("other", ->(_) { raise "a subscriber fails" }, -> { confirmed << "other" })
        p Array.new(2) { confirmed.pop }.sort
        ActionCable.server.broadcast("other", 0)
        ActionCable.server.broadcast("posts", { n: 1 })
        p [received.pop, received.pop]
        pubsub.unsubscribe("posts", callback2)
        receiver = pubsub.instance_variable_get(:@receiver)
        receiver.instance_variable_get(:@io).shutdown
        20.times { |n| ActionCable.server.broadcast("posts", n) }
        p Array.new(20) { received.pop } == (0..19).to_a
        pubsub.unsubscribe("posts", callback)
        pubsub.subscribe("again", callback, -> { confirmed << "again" })
        p confirmed.pop
        ActionCable.server.broadcast("posts", "unsubscribed")
        ActionCable.server.broadcast("again", "subscribed")
        p received.pop
        pubsub.shutdown
        p receiver.instance_variable_get(:@thread).alive?
      RUBY
      expect(out).to eq("[\"other\", \"posts\"]\n[{\"n\"=>1}, \"second\"]\ntrue\n\"again\"\n\"subscribed\"\nfalse\n")
      expect(@rails_log).to include("a subscriber has failed: a subscriber fails")
    end
  end

  it "receives over TLS from a server whose certificate it can verify" do
    folder = Dir.mktmpdir
    authority = CertificateAuthority.new(folder)
    authority.sign("server")
    CertificateAuthority.new(folder, "other")
    redis = RedisServer.new
    certificate = { "cert" => authority.path("server.pem"), "key" => authority.path("server.key") }
    server = NodeventServer.new({ "/cable" => settings(redis), "ssl" => certificate })
    address = "https://localhost:#{server.port}"
    configuration = YAML.dump("public_url" => address, "/cable" => settings(redis))
    script = <<~'RUBY'
      lines = StringIO.new
      NoDevent.logger = Logger.new(lines)
      received = Queue.new
      ActionCable.server.pubsub.subscribe("posts", ->(json) { received << json }, -> { ActionCable.server.broadcast("posts", "secret") })
      deadline = Time.now + 30
      Thread.pass until received.size.positive? || lines.string.include?("not received") || Time.now > deadline
      puts received.size.positive? ? received.pop : lines.string
      ActionCable.server.pubsub.shutdown
    RUBY
    run = ->(name) { app(configuration, script, cable: "  receive: true\n", env: { "SSL_CERT_FILE" => authority.path(name) }) }
    expect(run.call("ca.pem")).to eq("\"secret\"\n")
    expect(run.call("other.pem")).to include("streams are not received").and include("certificate verify failed")
  ensure
    [server, redis].compact.each(&:stop)
    FileUtils.rm_rf(folder) if folder
  end

  it "says what is missing in the configuration" do
    server = NodeventServer.new({ "/cable" => settings })
    subscribe = <<~'RUBY'
      begin
        ActionCable.server.pubsub.subscribe("posts", ->(_) {})
      rescue NoDevent::ConfigurationError => e
        puts e.message
      end
    RUBY
    configuration = YAML.dump("url" => server.url, "/cable" => settings)
    expect(app(configuration, subscribe)).to include("write `receive: true` below it, and `publish_key:` in config/nodevent.yml")
    keyless = YAML.dump("url" => server.url, "/cable" => settings.except("publish_key"))
    expect(app(keyless, subscribe, cable: "  receive: true\n")).to include("`receive: true` in config/cable.yml needs `publish_key:`")
    expect(app(configuration, subscribe, cable: "  receive: yes please\n")).to include('receive is "yes please"; write true or false')
    elsewhere = YAML.dump("url" => server.url, "/nodevent" => { "open" => "true" })
    broadcast = 'begin; ActionCable.server.broadcast("a", 1); rescue NoDevent::ConfigurationError => e; puts e.message; end'
    expect(app(elsewhere, broadcast)).to include("no namespace has `protocol: action_cable`")
    wrong = YAML.dump("url" => server.url, "/cable" => settings.merge("publish_key" => "another-key-0123456789"))
    log = app(wrong, <<~'RUBY', cable: "  receive: true\n")
      lines = StringIO.new
      NoDevent.logger = Logger.new(lines)
      ActionCable.server.pubsub.subscribe("posts", ->(_) {})
      deadline = Time.now + 30
      Thread.pass until lines.string.include?("rejects") || Time.now > deadline
      puts lines.string
    RUBY
    expect(log).to include('the server rejects the stream "posts"; check `publish_key` in config/nodevent.yml')
  ensure
    server&.stop
  end

  it "uses another namespace of the configuration if config/cable.yml names it" do
    namespace = settings.merge("action_cable" => settings["action_cable"].merge("path" => "/other"))
    server = NodeventServer.new({ "/cable" => settings, "/other" => namespace })
    client = CableClient.welcome(server.port, {}, path: "/other")
    client.subscribe(turbo("posts"))
    configuration = YAML.dump("url" => server.url, "/cable" => settings, "/other" => namespace)
    out = app(configuration, <<~'RUBY', cable: "  namespace: /other\n")
      ActionCable.server.broadcast("posts", "elsewhere")
      NoDevent.flush
      puts NoDevent::Cable.url, NoDevent::Cable.url(namespace: "/other")
    RUBY
    expect(client.message).to eq("elsewhere")
    expect(out).to eq("ws://localhost:8080/cable\nws://localhost:8080/other\n")
  ensure
    server&.stop
  end

  it "is recorded in tests, and replaced by the test adapter of Rails" do
    out = app("/cable: {protocol: action_cable}\n", <<~'RUBY')
      recorded = NoDevent.test_mode!
      ActionCable.server.broadcast("posts", { n: 1 })
      p recorded.publications.map { |one| [one.namespace, one.room, one.message] }
      ActionCable.server.remote_connections.where({}).disconnect
      ActionCable.server.broadcast("action_cable/user1", { type: "disconnect", reconnect: false })
      ActionCable.server.broadcast("action_cable/user1", { type: "disconnect" })
      p recorded.revocations.map(&:room)
    RUBY
    expect(out).to eq(<<~TEXT)
      [["/cable", "posts", {"n"=>1}]]
      ["action_cable_remote/", "action_cable_end/user1", "action_cable_remote/user1"]
    TEXT
  end
end
