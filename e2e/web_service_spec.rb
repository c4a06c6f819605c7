# frozen_string_literal: true

# Follows docs/from-socketio-web-service.md from its own text, as an operator of the old service would: with two sites, one in
# plain Ruby (examples/web_service) and one in Rails, and one page in both. Then opens the two examples in Chromium.
# W-09, W-22, W-32, W-38, W-52.
RSpec.describe "The guide for users of SocketIO Web Service" do
  guide = File.join(E2E::ROOT, "docs", "from-socketio-web-service.md")
  folder = File.join(E2E::ROOT, "examples", "web_service")

  # A Rails application in one file, with the two things that a site has: its rooms, and a page.
  rails = <<~'RUBY'
    require "action_controller/railtie"

    class BlogSite < Rails::Application
      config.eager_load = false
      config.hosts.clear
      config.secret_key_base = "only for tests"
      config.logger = Logger.new(File::NULL)
      routes.append { get "/rooms", to: "rooms#index" }
    end

    class RoomsController < ActionController::API
      include ActionController::HttpAuthentication::Token::ControllerMethods

      def index
        authenticate_or_request_with_http_token { |token| token == "token-of-ben" }
        render json: ["reader_7", "everyone"] unless performed?
      end
    end

    BlogSite.initialize!
    run BlogSite
  RUBY

  define_method(:guide_section) { |heading| E2E::Readme.new(heading, file: guide) }

  before(:context) do
    @tmp = Dir.mktmpdir
    @old = File.join(@tmp, "socketio-webservice")
    @new = File.join(@tmp, "nodevent")
    @redis = E2E::Redis.new
    @ports = { service: E2E::Program.free_port, shop: E2E::Program.free_port, blog: E2E::Program.free_port }
    @url = "http://localhost:#{@ports[:service]}"
    @env = %w[NODE_ENV PORT SITE_NAME REDIS_URL DEVICE_TTL NODEVENT_CONFIG NODEVENT_ENV RAILS_ENV RACK_ENV].to_h { |name| [name, nil] }
    @sites = start_sites(folder, rails)
  end

  after(:context) do
    [@server, *@sites, @redis].each { |program| program&.stop }
    FileUtils.rm_rf(@tmp)
  end

  def start_sites(folder, rails)
    rackup = File.join(@tmp, "blog.ru")
    File.write(rackup, rails)
    env = @env.merge("SITE" => "shop", "SERVICE" => @url, "API_KEY" => "54321")
    shop = E2E::Program.new("shop", "puma", "--bind", "tcp://localhost:#{@ports[:shop]}", "config.ru", env: env, dir: folder)
    blog = E2E::Program.new("blog", "puma", "--bind", "tcp://localhost:#{@ports[:blog]}", rackup, env: @env)
    [[shop, :shop, "/batch.html", "200"], [blog, :blog, "/rooms", "401"]].map do |program, name, path, status|
      program.ready("#{name} answers", within: 60) { status_of(name, path) == status }
    end
  end

  def status_of(name, path)
    Net::HTTP.get_response("localhost", path, @ports[name]).code
  rescue SystemCallError
    nil
  end

  # A command of the guide, with the folders and ports of this test.
  def adapted(command)
    command.gsub("/srv/socketio-webservice", @old).gsub("/etc/nodevent", @new)
           .gsub("PORT=1338 ", "").gsub("localhost:1338", "localhost:#{@ports[:service]}")
           .gsub(/^nodevent /, "#{E2E::Server::BINARY} ")
  end

  def run(command)
    program = E2E::Program.new("shell", "bash", "-ec", adapted(command), env: @env, dir: @tmp)
    [program.status.exitstatus, program.output]
  end

  def serve(command)
    @server&.stop
    @server = E2E::Program.new("nodevent", "bash", "-c", "exec #{adapted(command).strip}", env: @env, dir: @tmp)
    @server.ready("the server answers") { status_of(:service, "/readyz") == "200" }
  end

  # The documented files, with the ports of this test and a second site.
  def write_old_files(config, site)
    FileUtils.mkdir_p(File.join(@old, "config"))
    config = config.sub("port: 1337", "port: #{@ports[:service]}").sub("6379", @redis.port.to_s).sub(/ *auth_pass:.*\n/, "")
    shop = site.sub("newsite:", "shop:").sub("http://newsite.com", "http://localhost:#{@ports[:shop]}")
    blog = { "authUrl" => "http://localhost:#{@ports[:blog]}/rooms", "authScheme" => "Token", "apiKey" => "a-key-of-the-blog-site", "userRoomPrefix" => "reader_" }
    File.write(File.join(@old, "config", "config.yml"), config)
    File.write(File.join(@old, "config", "sites.yml"), shop + { "blog" => blog }.to_yaml.delete_prefix("---\n"))
  end

  # Adds the lines of the guide to `io`.
  def list_origins(lines)
    file = File.join(@old, "config", "config.yml")
    File.write(file, File.read(file).sub("  io:\n", lines.gsub(/^/, "  ")))
  end

  # Loads the client that the server has, from another origin. W-52.
  def load_client
    omar.visit("http://localhost:#{@ports[:shop]}/items")
    omar.execute_script(<<~JS, "#{@url}/socket.io/socket.io.js")
      document.head.append(Object.assign(document.createElement("script"), { src: arguments[0] }));
    JS
    eventually("the client is loaded") { omar.evaluate_script("typeof io === 'function'") }
  end

  # One page, connected to both sites with a token for each.
  def open_page_in_both
    load_client
    omar.execute_script(<<~JS, @url)
      window.received = [];
      const note = (site) => (name, ...args) => received.push([site, name, ...args.filter((arg) => typeof arg !== "function")]);
      const shop = io(arguments[0] + "/shop", { auth: { token: "token-of-bob" } });
      const blog = io(arguments[0] + "/blog", { auth: { token: "token-of-ben" } });
      for (const [name, socket] of [["shop", shop], ["blog", blog]]) {
        for (const event of ["update_store", "news"]) socket.on(event, (...args) => {
          note(name)(event, ...args);
          const last = args.at(-1);
          if (typeof last === "function") last();
        });
        // What was sent while the page was not connected.
        socket.on("batch", (events, done) => done(events.forEach((one) => note(name)(...one))));
        socket.on("connect", () => received.push([name, "connect"]));
        socket.on("connect_error", ({ message }) => received.push([name, message]));
      }
    JS
    expect_received(%w[shop connect], %w[blog connect])
  end

  def expect_received(*expected)
    eventually("the page received #{expected}") { (expected - omar.evaluate_script("window.received")).empty? }
  end

  def send_to(site, key, rooms, event, *args)
    uri = URI("#{@url}/send?site=#{site}&apiKey=#{key}")
    Net::HTTP.post(uri, JSON.generate(rooms: rooms, event: event, args: args), "Content-Type" => "application/json").body
  end

  it "leads from the old files to ours, with two sites in one page" do
    step = guide_section("Step 1: check the files")
    check = step.next("sh")
    write_old_files(step.next("yml"), step.next("yml"))
    origins = step.next("yml")
    status, output = run(check)
    expect([status, output]).to match([0, including("no errors", "port: the server listens on port", "pages of every origin")])
    list_origins(origins.sub("https://www.example.com", "http://localhost:#{@ports[:shop]}"))
    expect(run(check).last).not_to include("pages of every origin")

    step = guide_section("Step 2: run it next to the old service")
    serve(step.next("sh"))
    open_page_in_both
    expect(run(step.next("sh").sub("newsite", "shop").sub("user_1", "user_2")).last).to end_with("OK")
    expect_received(["shop", "update_store", "user", { "id" => 1, "age" => 5 }])
    expect(send_to("blog", "a-key-of-the-blog-site", %w[reader_7 everyone], "news", "for readers")).to eq("OK")
    expect_received(["blog", "news", "for readers"])
    expect(omar.evaluate_script("received.filter(([site]) => site === 'blog').length")).to eq(2), "one copy of the message"

    serve(guide_section("Step 3: switch").next("sh"))
    migrate, check, serve = guide_section("Step 4: migrate the configuration").next("sh").lines
    expect(run(migrate).first).to eq(0)
    expect(run(check)).to match([0, including("no errors")])
    serve(serve)
    eventually("the page is connected again") { omar.evaluate_script("received.filter(([site, name]) => name === 'connect').length") >= 4 }
    expect(send_to("blog", "a-key-of-the-blog-site", "reader_7", "news", "migrated")).to eq("OK")
    expect_received(%w[blog news migrated])
  end

  it "has an example that shows messages which wait for the page" do
    ines.visit("http://localhost:#{@ports[:shop]}/batch.html")
    expect(ines).to have_css("#status.connected")
    write(ines, "first")
    expect(ines).to have_css("#messages li", text: "first")
    ines.click_button("Disconnect")
    expect(ines).to have_css("#status", text: "Offline")
    %w[second third].each { |text| write(ines, text) }
    expect(ines).to have_field("text", with: "")
    ines.click_button("Connect")
    expect(ines).to have_css("#messages li", count: 3)
    expect(texts(ines, "#messages li")).to eq(["firstlive", "secondin a batch", "thirdin a batch"])
  end

  it "has an example that notices what its copy has missed" do
    ines.visit("http://localhost:#{@ports[:shop]}/resync.html")
    expect(ines).to have_css("#status.connected")
    expect(ines).to have_css("#read", text: "read once")
    before = texts(ines, "#items li")
    ines.check("Fail with the next item")
    write(ines, "Butter")
    expect(ines).to have_unchecked_field("Fail with the next item")
    expect(texts(ines, "#items li")).to eq(before)
    write(ines, "Eggs")
    expect(ines).to have_css("#read", text: "read 2 times")
    eventually("the copy is complete") { texts(ines, "#items li") == [*before, "Butter", "Eggs"] }
  end

  # Writes into the only form, and waits until the site has accepted it.
  def write(person, text)
    field = person.find("form input[type=text]")
    field.set(text)
    person.find("form button").click
    eventually("#{text} is accepted") { field.value.empty? }
  end
end
