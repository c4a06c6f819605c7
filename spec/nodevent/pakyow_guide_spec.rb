# frozen_string_literal: true

# Follows docs/from-pakyow-realtime.md from its own text: its configuration, its application under Puma, its page, its handler
# and hooks, and its settings, with the real server. `realtime_testing_spec.rb` runs its section about tests.
RSpec.describe "docs/from-pakyow-realtime.md" do
  define_method(:guide_text) { File.read(File.join(ROOT, "docs/from-pakyow-realtime.md")) }

  # Runs JavaScript of the guide as a page with this id and these cookies. `show(value)` makes a line.
  def page(script, id, cookies)
    program = <<~JS
      const Native = globalThis.WebSocket;
      globalThis.WebSocket = class extends Native {
        constructor(url) { super(url, { headers: { cookie: #{cookies.to_json} } }); }
      };
      globalThis.document = { body: { dataset: { socketConnectionId: #{id.to_json} } } };
      const show = (value) => console.log(JSON.stringify(value));
      #{script}
    JS
    Open3.popen2("node", "--experimental-websocket", "--no-warnings", "--eval", program) do |_, out, thread|
      yield Guide::Page.new(out)
    ensure
      begin
        Process.kill(:KILL, thread.pid)
      rescue Errno::ESRCH
        # It has ended by itself.
      end
    end
  end

  # The server and the application of the guide, on other ports.
  def start(example, extra: "", calls: {})
    port = Ports.free
    settings = example.configuration
    settings["/live"]["calls"].merge!("url" => "http://127.0.0.1:#{port}", **calls)
    @server = NodeventServer.new(settings)
    @config = Tempfile.new(["nodevent", ".yml"])
    @config.write(YAML.dump("url" => @server.url, "/live" => settings["/live"]))
    @config.close
    rackup = example.code("ruby").sub("use NoDevent::Realtime", "#{extra}\nuse NoDevent::Realtime")
    environment = { "NODEVENT_CONFIG" => @config.path, "SESSION_SECRET" => "a secret of sessions " * 4 }
    @application = PumaServer.new(rackup, port: port, env: environment)
  end

  after do
    @application&.stop
    @server&.stop
  end

  it "has a complete example that works: P-05, P-07, P-18, P-20" do
    example = Guide.new("from-pakyow-realtime.md")
    start(example)
    visitor = Visitor.new(@application, @server)
    id = visitor.get("/").id
    script = example.code("js").gsub("localhost:8080", "127.0.0.1:#{@server.port}")
    page(script, id, visitor.header) do |shown|
      expect([shown.next, shown.next]).to contain_exactly(
        { "payload" => { "text" => "Hello" }, "channel" => "chat" },
        { "id" => 1, "status" => 201, "headers" => a_hash_including("content-type" => "text/plain"), "body" => ["over the socket"] }
      )
    end
  end

  it "has handlers and hooks that work: P-24, P-27" do
    extra = "#{Guide.new('from-pakyow-realtime.md', 'Handlers and hooks').code('ruby')}\nrequire \"json\""
    extra += "\nuse(Class.new { def initialize(app) = @app = app\n def call(env) = (env['rack.session']['name'] ||= 'Ann') && @app.call(env) })"
    start(Guide.new("from-pakyow-realtime.md"), extra: extra, calls: { "handlers" => "/nodevent/realtime", "notify" => %w[join leave] })
    visitor = Visitor.new(@application, @server)
    watching = visitor.open(visitor.get("/").id)
    request, reply = guide_text.scan(/A page that sends `(\{.*?\})` receives `(\{.*?\})`/m).first.map { |text| JSON.parse(text.tr("\n", " ")) }
    expect(watching.call(request.transform_keys(&:to_sym))).to eq(reply)
    digest = NoDevent::Realtime::Identity.digest(visitor.cookies["nodevent_page"].split(".")[1], "c" * 64)
    NoDevent::Emitter.config = YAML.safe_load(File.read(@config.path))
    expect(NoDevent::Realtime::Delivery.change(digest, subscribe: ["lobby"])).to be_nil
    lobby = visitor.open("c" * 64)
    watching.close
    # The page itself has joined, and the other one is gone.
    expected = [{ "name" => "Ann" }, { "gone" => "Ann" }]
    payloads = []
    payloads << lobby.receive["payload"] until (expected - payloads).empty?
    expect(payloads.uniq).to match_array(expected)
  ensure
    [watching, lobby].compact.each(&:close)
  end

  it "has settings that can be written so: P-32, P-33" do
    NoDevent::Emitter.config = Guide.new("from-pakyow-realtime.md").configuration
    eval(Guide.new("from-pakyow-realtime.md", "Settings").code("ruby")) # rubocop:disable Security/Eval
    settings = NoDevent::Realtime.settings
    expect([settings.enabled, settings.registry, settings.redis_key]).to eq([true, NoDevent::Realtime::RedisRegistry, "/live"])
    expect(settings.publishing.redis_target[:hosts]).to eq([["127.0.0.1", 6379]])
  ensure
    NoDevent::Realtime.reset!
  end
end
