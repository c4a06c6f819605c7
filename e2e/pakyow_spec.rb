# frozen_string_literal: true

# The example examples/pakyow_chat, in Chromium: two visitors, one of them with two tabs, and a page of another site, which
# can neither call a route nor receive a message. P-04, P-05, P-06, P-11, P-18, P-24, P-27, P-37, P-39.
RSpec.describe "The example of pakyow-realtime" do
  folder = File.join(E2E::ROOT, "examples", "pakyow_chat")

  before(:context) do
    ports = { app: E2E::Program.free_port, server: E2E::Program.free_port, evil: E2E::Program.free_port }
    @chat = "http://localhost:#{ports[:app]}/"
    # Chromium resolves it to this machine. It is another site than localhost.
    @evil = "http://evil.localhost:#{ports[:evil]}/"
    @socket = "ws://localhost:#{ports[:server]}/"
    env = { "NODEVENT_PORT" => ports[:server].to_s, "SERVER" => "http://localhost:#{ports[:server]}", "RUBYLIB" => File.join(E2E::ROOT, "lib"),
            "APPLICATION" => "http://127.0.0.1:#{ports[:app]}", "NODEVENT_ENV" => "development", "RACK_ENV" => "development" }
    @rackup = File.join(E2E::TMP, "evil-#{ports[:evil]}.ru")
    FileUtils.mkdir_p(E2E::TMP)
    File.write(@rackup, 'run(->(_) { [200, { "Content-Type" => "text/html" }, ["<html><body>Another site</body></html>"]] })')
    @programs = [E2E::Program.new("nodevent", E2E::Server::BINARY, "serve", "config/nodevent.yml", env: env, dir: folder),
                 E2E::Program.new("chat", "puma", "--bind", "tcp://0.0.0.0:#{ports[:app]}", "config.ru", env: env, dir: folder),
                 E2E::Program.new("evil", "puma", "--bind", "tcp://127.0.0.1:#{ports[:evil]}", @rackup)]
    ["http://localhost:#{ports[:server]}/readyz", @chat, "http://127.0.0.1:#{ports[:evil]}/"].zip(@programs) do |url, program|
      program.ready("#{url} answers", within: 60) { answers?(url) }
    end
  end

  after(:context) do
    @programs&.each(&:stop)
    FileUtils.rm_f(@rackup)
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
