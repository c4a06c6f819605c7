# frozen_string_literal: true

require "net/http"

# Issue 18: the console in development, with keys that the application signs.
#
# Cases of an attack: a name that DNS resolves to this machine; a page of another site, of another port, and one that
# hides its origin; a form, which cannot send JSON; a proxy, by its headers and by its Unix socket; another machine;
# other environments; a console that is switched off.
RSpec.describe "The console in the application" do
  rackup = <<~'RUBY'
    require "rails"
    require "action_controller/railtie"
    require "nodevent"
    class App < Rails::Application
      config.root = Dir.pwd
      config.logger = Logger.new($stderr)
      config.secret_key_base = "x" * 40
      config.hosts.clear
      config.eager_load = false
      routes.append { mount NoDevent::Server => "/nodevent" }
    end
    run App.initialize!
  RUBY

  before(:context) do
    @app = HandoverApp.new(rackup: rackup, more: { "console" => true }, path: "/nodevent/console",
                           settings: { "secret" => "a-secret-of-more-than-sixteen", "max_key_lifetime" => "1h" })
  end

  after(:context) { @app&.stop }

  let(:port) { @app.puma.port }
  let(:own) { { "Host" => "localhost:#{port}", "Origin" => "http://localhost:#{port}", "Content-Type" => "application/json" } }

  def get(path, headers = {})
    Net::HTTP.start("127.0.0.1", port) { |http| http.get("/nodevent#{path}", headers) }
  end

  def post(path, body, headers = own)
    Net::HTTP.start("127.0.0.1", port) { |http| http.post("/nodevent#{path}", JSON.generate(body), headers) }
  end

  # The statuses of the page, of its state, and of a request for a key.
  def statuses(headers)
    [get("/console", headers).code, get("/console.json", headers).code, post("/console/key", { room: "r" }, own.merge(headers)).code]
  end

  it "N-22 is the server's page, and says that the application signs and emits" do
    page = get("/console")
    expect([page.code, page.body]).to match(["200", include("<title>NoDevent console</title>")])
    expect(page["content-security-policy"]).to include("frame-ancestors 'none'").and include("connect-src 'self'")
    expect(%w[/console.js /console.css].map { |path| get(path).code }).to eq(%w[200 200])
    state = get("/console.json")
    expect(JSON.parse(state.body)).to include("application" => true, "namespaces" => [include("name" => "/nodevent", "secured" => true)])
    expect(state["access-control-allow-origin"]).to be_nil
  end

  it "N-22 signs keys with which the page joins, and emits for it" do
    response = post("/console/key?namespace=%2Fnodevent", { room: "Discussion_1" })
    expect([response.code, response["cache-control"]]).to eq(%w[200 no-store])
    key = JSON.parse(response.body).fetch("key")
    expect(key[/\d+\z/].to_i).to be_between((Time.now.to_i + 500) * 1000, (Time.now.to_i + 601) * 1000)
    socket = @app.websocket
    socket.send(%(42/nodevent,0["join",{"room":"Discussion_1","key":"#{key}"}]))
    reply = socket.next_text until reply&.start_with?("43/nodevent,0")
    expect(reply).to include("true")
    events = [1, 2].map { |number| { room: "Discussion_1", event: "update", message: { number: number } } }
    sent = post("/console/emit?namespace=%2Fnodevent", events)
    expect([sent.code, sent.body]).to eq(["200", '{"accepted":2}'])
    frame = socket.next_text until frame&.include?('"number":2')
    socket.close
  end

  it "is only for pages of this machine, under a name of this machine, and not through a proxy" do
    expect(statuses({})).to eq(%w[200 200 200])
    ["127.0.0.1:#{port}", "[::1]:#{port}", "LOCALHOST:#{port}"].each do |host|
      expect([host, statuses("Host" => host, "Origin" => "http://#{host}")]).to eq([host, %w[200 200 200]])
    end
    %w[rebound.evil.example localhost.evil.example 127.0.0.1.evil.example localhost@evil.example 10.0.0.7].each do |host|
      refused = statuses("Host" => "#{host}:#{port}", "Origin" => "http://#{host}:#{port}")
      expect([host, refused.uniq - %w[400 403]]).to eq([host, []])
    end
    %w[X-Forwarded-For X-Forwarded-Host Forwarded X-Real-IP Via CF-Connecting-IP True-Client-IP].each do |name|
      expect([name, statuses(name => "127.0.0.1")]).to eq([name, %w[403 403 403]])
    end
    expect(JSON.parse(get("/console", "Host" => "evil.example").body)["error"]).to include("for pages of this machine only")
  end

  it "signs and emits for its own page only" do
    { "Origin" => ["http://evil.example", "http://localhost:1", "https://localhost:#{port}", "http://127.0.0.1:#{port}", "null", ""],
      "Sec-Fetch-Site" => %w[cross-site same-site none] }.each do |name, values|
      values.each do |value|
        %w[/console/key /console/emit].each do |path|
          response = post(path, { room: "r", event: "e" }, own.merge(name => value))
          expect([name, value, response.code]).to eq([name, value, "403"])
          expect(JSON.parse(response.body)["hint"]).to include("open the console")
        end
      end
    end
    expect(post("/console/key", { room: "r" }, own.except("Origin")).code).to eq("403")
    expect(post("/console/key", { room: "r" }, own.merge("Content-Type" => "text/plain")).code).to eq("415")
    expect(get("/console/key", own).code).to eq("405")
  end

  it "says what is wrong with a request, and signs and emits nothing" do
    { ["/console/key", {}] => "400", ["/console/key", { room: "" }] => "400", ["/console/key?namespace=%2Fnone", { room: "r" }] => "404",
      ["/console/key", { room: "r" * 9000 }] => "413", ["/console/emit", []] => "400", ["/console/emit", { room: "r" }] => "400",
      ["/console/emit", [{ room: "r", event: "e" }, 7]] => "400", ["/console/emit", Array.new(1001) { { room: "r", event: "e" } }] => "413",
      ["/console/emit", { room: "r", event: "" }] => "422" }.each do |(path, body), code|
      response = post(path, body)
      expect([path, response.code, JSON.parse(response.body).keys]).to eq([path, code, %w[error hint]])
    end
  end

  describe "outside of development, or switched off" do
    def on?(rails: "development", environment: "development", console: nil)
      stub_const("Rails", Module.new).define_singleton_method(:env) { Struct.new(:name) { def development? = name == "development" }.new(rails) }
      allow(NoDevent::Configuration::Document).to receive(:environment).and_return(environment)
      NoDevent::Emitter.config = { "/nodevent" => { secret: "a-secret-of-more-than-sixteen" }, console: console }.compact
      NoDevent::Console::PATHS.map { |path| NoDevent::Console.serves?(path) }.uniq
    end

    it "does not exist" do
      expect(on?).to eq([true])
      expect(on?(console: true)).to eq([true])
      expect([on?(rails: "production"), on?(environment: "production"), on?(rails: "test"), on?(console: false)]).to all(eq([false]))
      hide_const("Rails")
      expect(NoDevent::Console.on?).to be_falsy
    end

    it "is named by the doctor, at the application's address if the server is mounted there" do
      require "nodevent/doctor"
      on?
      find = ->(origin = nil) { NoDevent::Doctor::ConsoleCheck.findings(origin).map(&:to_s) }
      expect(find.call).to eq(["ok   the console, for browsers on this machine: http://localhost:8080/console"])
      NoDevent::Server.at = "/nodevent"
      NoDevent::Emitter.config = { "/nodevent" => { open: true }, handover_socket: "/run/nodevent.sock" }
      expect(find.call("http://localhost:5000")).to eq(["ok   the console, for browsers on this machine: http://localhost:5000/nodevent/console"])
      expect(find.call("https://www.example.com").first).to match(%r{http://localhost:\d+/nodevent/console\z})
      on?(rails: "production")
      expect(find.call).to eq([])
    ensure
      NoDevent::Server.at = nil
      NoDevent::Server.forget
    end

    it "is no path of the middleware, and not for another machine or a Unix socket" do
      on?
      other = ->(_) { [200, {}, ["own"]] }
      env = { "REQUEST_METHOD" => "GET", "PATH_INFO" => "/console", "REMOTE_ADDR" => "127.0.0.1", "HTTP_HOST" => "localhost:3000" }
      expect(NoDevent::Server.new(other).call(env).last).to eq(["own"])
      server = NoDevent::Server.new
      pair = UNIXSocket.pair
      [{ "REMOTE_ADDR" => "203.0.113.9" }, { "REMOTE_ADDR" => "" }, { "puma.socket" => pair.first }].each do |more|
        expect(server.call(env.merge(more)).first).to eq(403)
      end
    ensure
      pair&.each(&:close)
      NoDevent::Server.remove_instance_variable(:@middleware)
      NoDevent::Server.at = nil
      NoDevent::Server.forget
    end
  end
end
