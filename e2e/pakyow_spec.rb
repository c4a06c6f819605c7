# frozen_string_literal: true

# The example examples/pakyow_chat, in Chromium: two visitors, one of them with two tabs, and a page of another site, which
# can neither call a route nor receive a message. With Redis, the application sends its requests to one server, and the pages
# connect to another one. P-04, P-05, P-06, P-11, P-18, P-24, P-27, P-31, P-37, P-39.
RSpec.describe "The example of pakyow-realtime" do
  folder = File.join(E2E::ROOT, "examples", "pakyow_chat")
  engines = { "the memory engine" => [false, 1], "Redis and two servers" => [true, 2] }

  # The configuration of the example, with another engine.
  def write_configuration(text, servers, redis)
    path = File.join(E2E::TMP, "pakyow-#{servers.join('-')}.yml")
    text = text.sub("/live:\n", "url: http://localhost:#{servers.last}\n/live:\n#{"  redis: #{redis.url}\n" if redis}")
    File.write(path, text)
    path
  end

  def start_programs(folder, count, redis)
    app, evil, *servers = Array.new(2 + count) { E2E::Program.free_port }
    @chat = "http://localhost:#{app}/"
    # Chromium resolves it to this machine. It is another site than localhost.
    @evil = "http://evil.localhost:#{evil}/"
    @socket = "ws://localhost:#{servers.first}/"
    FileUtils.mkdir_p(E2E::TMP)
    @files = [write_configuration(File.read(File.join(folder, "config", "nodevent.yml")), servers, redis), File.join(E2E::TMP, "evil-#{evil}.ru")]
    File.write(@files.last, 'run(->(_) { [200, { "Content-Type" => "text/html" }, ["<html><body>Another site</body></html>"]] })')
    env = { "SERVER" => "http://localhost:#{servers.first}", "RUBYLIB" => File.join(E2E::ROOT, "lib"), "NODEVENT_CONFIG" => @files.first,
            "APPLICATION" => "http://127.0.0.1:#{app}", "NODEVENT_ENV" => "development", "RACK_ENV" => "development" }
    @programs = servers.map { |port| E2E::Program.new("nodevent", E2E::Server::BINARY, "serve", @files.first, env: env.merge("NODEVENT_PORT" => port.to_s), dir: folder) }
    @programs += [E2E::Program.new("chat", "puma", "--bind", "tcp://0.0.0.0:#{app}", "config.ru", env: env, dir: folder),
                  E2E::Program.new("evil", "puma", "--bind", "tcp://127.0.0.1:#{evil}", @files.last)]
    await_programs([*servers.map { |port| "http://localhost:#{port}/readyz" }, @chat, "http://127.0.0.1:#{evil}/"])
  end

  def await_programs(urls)
    urls.zip(@programs) { |url, program| program.ready("#{url} answers", within: 60) { answers?(url) } }
  end

  def answers?(url)
    Net::HTTP.get_response(URI(url)).is_a?(Net::HTTPOK)
  rescue SystemCallError
    false
  end

  def open_chat(person)
    person.visit(@chat)
    expect(person).to have_css("#status", text: "connected")
    person.find("h1").text.delete_prefix("Hello, ")
  end

  def push(person, text)
    person.fill_in("text", with: text)
    person.click_button("Push")
    expect(person).to have_field("text", with: "")
  end

  def expect_message(person, text)
    expect(person).to have_css("#messages li", text: text, exact_text: true)
  end

  engines.each do |name, (has_redis, count)|
    describe "with #{name}" do
      before(:context) do
        @redis = E2E::Redis.new if has_redis
        start_programs(folder, count, @redis)
      end

      after(:context) do
        @programs&.each(&:stop)
        @redis&.stop
        FileUtils.rm_f(@files)
      end

      it "lets visitors and their tabs chat, call routes and handlers, and stop" do
        name = open_chat(ines)
        open_chat(omar)
        tab = omar.open_new_window
        omar.within_window(tab) { open_chat(omar) }
        push(ines, "hello <b>")
        expect_message(ines, "#{name}: hello <b>")
        expect_message(omar, "#{name}: hello <b>")
        omar.within_window(tab) { expect_message(omar, "#{name}: hello <b>") }
        ines.click_button("Call a route")
        expect(ines).to have_css("#messages li", text: /UTC over the socket\z/)
        ines.click_button("Call a handler")
        expect_message(omar, "#{name}: HELLO")
        omar.click_button("Unsubscribe")
        expect_message(omar, "quiet")
        push(ines, "not for omar's first tab")
        omar.within_window(tab) { expect_message(omar, "#{name}: not for omar's first tab") }
        expect(texts(omar, "#messages li").grep(/first tab/)).to eq([])
        omar.within_window(tab) { omar.current_window.close }
        # Hooks run with the visitor's session.
        ines.visit("about:blank")
        expect_message(omar, "#{name} has left")
      end

      it "gives nothing to a page of another site, even if it knows the id: P-37" do
        name = open_chat(ines)
        id = ines.evaluate_script("document.body.dataset.socketConnectionId")
        tab = ines.open_new_window
        ines.within_window(tab) do
          ines.visit(@evil)
          ines.execute_script(<<~JS, "#{@socket}?socket_connection_id=#{id}", "#{@chat}messages")
            window.seen = [];
            const socket = new WebSocket(arguments[0]);
            socket.onmessage = ({ data }) => seen.push(data);
            socket.onopen = () => socket.send(JSON.stringify({ id: 1, action: "call-route", method: "POST", uri: "/messages", input: { text: "forged" } }));
            socket.onclose = () => seen.push("closed");
            fetch(arguments[1], { method: "POST", credentials: "include", mode: "no-cors", body: new URLSearchParams({ text: "without a session" }) })
              .then(() => seen.push("posted"), (error) => seen.push(String(error)));
          JS
          eventually("both attempts have ended") { ines.evaluate_script("seen").sort == %w[closed posted] }
        end
        push(ines, "after the attempts")
        expect_message(ines, "#{name}: after the attempts")
        # What the other site posts has no cookies, and so no session.
        expect(texts(ines, "#messages li").grep(/forged|without a session/)).to eq([])
        ines.within_window(tab) { expect(ines.evaluate_script("seen.filter((one) => one.startsWith('{'))")).to eq([]) }
      ensure
        ines.within_window(tab) { ines.current_window.close } if tab
      end
    end
  end
end
