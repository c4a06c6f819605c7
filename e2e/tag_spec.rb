# frozen_string_literal: true

# Each form of the tag of `javascript_include_nodevent`, in a page on another port, under a Content-Security-Policy that
# allows only that form: the page connects and can emit. N-100.
RSpec.describe "The tag of javascript_include_nodevent" do
  before(:context) do
    @port = E2E::Program.free_port
    @server = E2E::Server.new("NODEVENT_PORT" => E2E::Program.free_port.to_s, "NODEVENT_ENV" => "test",
                              "NODEVENT_SECRET" => SecureRandom.hex(32), "NODEVENT_PUBLISH_KEY" => SecureRandom.hex(16),
                              "NODEVENT_TOKEN_SECRET" => SecureRandom.hex(32),
                              "NODEVENT_HOOKS_SECRET" => SecureRandom.hex(32), "SECRET_KEY_BASE" => SecureRandom.hex(32))
    @rackup = File.join(E2E::TMP, "tags-#{@port}.ru")
    File.write(@rackup, pages)
    @pages = E2E::Program.new("pages", "puma", "--bind", "tcp://localhost:#{@port}", @rackup, env: { "RUBYLIB" => File.join(E2E::ROOT, "lib") })
    @pages.ready("the pages answer", within: 60) { answers? }
  end

  after(:context) do
    @pages&.stop
    @server&.stop
    FileUtils.rm_f(@rackup)
  end

  def pages
    <<~RUBY
      require "nodevent"
      extend NoDevent::Helper
      NoDevent::Emitter.config = { public_url: "http://localhost:#{@server.port}", namespace: "/board" }
      forms = { "/plain" => {}, "/defer" => { defer: true }, "/module" => { module: true },
                "/nonce" => { nonce: "once" }, "/all" => { nonce: "once", defer: true, module: true },
                "/async" => { async: true, nonce: "once" }, "/hash" => { async: true }, "/async-module" => { async: true, nonce: "once", module: true } }
      run(lambda do |env|
        form = forms.fetch(env["PATH_INFO"], {})
        source = form[:nonce] ? "'nonce-once'" : NoDevent::Emitter.config.public_url
        source += " \#{NoDevent.csp_hash}" if form[:async] && !form[:nonce]
        headers = { "content-type" => "text/html",
                    "content-security-policy" => "default-src *; script-src \#{source}" }
        [200, headers, ["<!doctype html><head>\#{javascript_include_nodevent(**form)}</head><body>Here</body>"]]
      end)
    RUBY
  end

  def answers?
    Net::HTTP.get_response("localhost", "/", @port).is_a?(Net::HTTPOK)
  rescue SystemCallError
    false
  end

  %w[plain defer module nonce all async hash async-module].each do |form|
    it "connects in the form #{form}" do
      omar.visit("http://localhost:#{@port}/#{form}")
      eventually("the page is connected") { omar.evaluate_script("!!window.NoDevent && NoDevent.connected()") }
    end
  end

  # Issue 11, section F: the page rendered nothing for 40 s.
  %w[async hash async-module].each do |form|
    it "never waits for a server that hangs, and keeps what the page asked for, in the form #{form}" do
      start = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      @server.while_hanging do
        omar.visit("http://localhost:#{@port}/#{form}")
        expect(omar).to have_css("body", text: "Here")
        expect(omar.evaluate_script("document.readyState")).to match(/interactive|complete/)
        omar.execute_script("window.joined = []; NoDevent.room('r').join((error) => joined.push(error))")
        expect(omar.evaluate_script("[NoDevent.connected(), joined.length]")).to eq([false, 0])
        expect(Process.clock_gettime(Process::CLOCK_MONOTONIC) - start).to be < 5
      end
      eventually("the join was answered") { omar.evaluate_script("joined.length") == 1 }
      expect(omar.evaluate_script("NoDevent.connected()")).to be(true)
    end
  end
end
