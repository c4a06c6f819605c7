# frozen_string_literal: true

# `nodevent.subscribe` and `nodevent.push` in a Rails application, in Chromium: two visitors, one of them with two tabs, and
# pages of our own client without a key in their HTML. With Redis, the application sends its requests to one server and the
# browsers connect to another one. P-05, P-06, P-11, P-20, P-28, P-29, P-31, P-36, P-39.
RSpec.describe "Pages of Rails that a controller subscribes to rooms" do
  application = <<~'RUBY'
    require "action_controller/railtie"
    require "nodevent"

    class Site < Rails::Application
      config.root = __dir__
      config.eager_load = false
      config.secret_key_base = "x" * 40
      config.logger = Logger.new(File::NULL)
      config.hosts.clear
      config.nodevent.realtime = true
      routes.append do
        resources(:discussions, only: :show) { member { post :comment; post :draft; post :mute } }
      end
    end

    class DiscussionsController < ActionController::Base
      protect_from_forgery with: :exception
      helper NoDevent::Helper
      before_action { @room = "Discussion_#{params[:id]}" }

      PAGE = <<~ERB
        <!doctype html><html><head><%= csrf_meta_tags %><%= javascript_include_nodevent %></head><body><h1><%= @room %></h1><ul id="seen"></ul><script>
          const show = (text) => document.getElementById("seen").append(Object.assign(document.createElement("li"), { textContent: text }));
          NoDevent.room("<%= @room %>").on("comment", ({ text }) => show(text)).on("leave", (reason) => show("left: " + reason));
          NoDevent.page.on("saved", ({ text }) => show("saved " + text));
          const call = async (action, body = {}) => show((await NoDevent.call("POST", `/discussions/<%= params[:id] %>/${action}`, body)).status);
        </script></body></html>
      ERB

      def show
        session[:visits] = session[:visits].to_i + 1
        nodevent.subscribe(@room)
        nodevent.subscribe("Announcements")
        render inline: PAGE
      end

      def comment
        NoDevent::Emitter.emit(@room, "comment", { text: params[:text] })
        head :created
      end

      # Reaches the page that calls, and no other of the visitor.
      def draft
        nodevent.push("saved", { text: "#{params[:text]}, visit #{session[:visits]}, #{request.socket?}" })
        head :created
      end

      def mute
        nodevent.unsubscribe(@room)
        head :no_content
      end
    end

    Site.initialize!
    run Site
  RUBY

  engines = { "the memory engine" => [false, 1], "Redis and two servers" => [true, 2] }

  def answers?(url)
    Net::HTTP.get_response(URI(url)).is_a?(Net::HTTPSuccess)
  rescue SystemCallError
    false
  end

  def start_server(port)
    E2E::Program.new("nodevent", E2E::Server::BINARY, "serve", @configuration, env: { "NODEVENT_PORT" => port.to_s, "NODEVENT_ENV" => "test" })
                .ready("the server answers", within: 60) { answers?("http://localhost:#{port}/readyz") }
  end

  def open_discussion(person, number)
    person.visit("#{@site}/discussions/#{number}")
    eventually("the page is in its room") { person.evaluate_script("NoDevent.room('Discussion_#{number}').joined && Boolean(NoDevent.page.position)") }
  end

  def comment(person, number, text)
    person.execute_script("call('comment', { text: arguments[0] })", text)
    expect(person).to have_css("#seen li", text: "201")
    expect_line(person, text) if person.has_css?("h1", text: "Discussion_#{number}")
  end

  def expect_line(person, text)
    expect(person).to have_css("#seen li", text: text, exact_text: true)
  end

  engines.each do |name, (redis, count)|
    describe "with #{name}" do
      before(:context) do
        @folder = File.join(E2E::TMP, "page-rooms-#{Process.pid}-#{count}")
        FileUtils.mkdir_p(@folder)
        @ports = Array.new(count) { E2E::Program.free_port }
        port = E2E::Program.free_port
        @site = "http://localhost:#{port}"
        @redis = E2E::Redis.new if redis
        @configuration = File.join(@folder, "nodevent.yml")
        File.write(@configuration, <<~YAML)
          port: ${NODEVENT_PORT:-#{@ports.last}}
          public_url: http://localhost:#{@ports.first}
          url: http://localhost:#{@ports.last}
          publish: local
          /nodevent:
            secret: #{SecureRandom.hex(32)}
            pages: { secret: #{SecureRandom.hex(32)} }
            calls: { url: "http://127.0.0.1:#{port}", secret: #{SecureRandom.hex(32)} }
            #{"redis: #{@redis.url}" if redis}
        YAML
        File.write(File.join(@folder, "config.ru"), application)
        @servers = @ports.map { |one| start_server(one) }
        env = { "NODEVENT_CONFIG" => @configuration, "NODEVENT_ENV" => "test", "RAILS_ENV" => "development", "RUBYLIB" => File.join(E2E::ROOT, "lib") }
        @rails = E2E::Program.new("rails", "puma", "--bind", "tcp://0.0.0.0:#{port}", "config.ru", env: env, dir: @folder)
        @rails.ready("Rails answers", within: 120) { answers?("#{@site}/discussions/1") }
      end

      after(:context) do
        [@rails, *@servers, @redis].compact.each(&:stop)
        FileUtils.rm_rf(@folder)
      end

      it "receive events without a key, until the controller unsubscribes them: P-05, P-06, P-11, P-20, P-28" do
        open_discussion(ines, 1)
        open_discussion(omar, 1)
        html = ines.evaluate_script("document.documentElement.outerHTML")
        expect(html).not_to match(/\h{64}:\d{13}|data-key|nodevent_key/)
        comment(ines, 1, "hello <b>")
        expect_line(omar, "hello <b>")
        omar.execute_script("call('mute')")
        expect_line(omar, "left: unsubscribed")
        comment(ines, 1, "not for omar")
        omar.execute_script("call('draft', { text: 'afterwards' })")
        expect_line(omar, /saved afterwards, visit \d+, true/)
        expect(texts(omar, "#seen li")).not_to include("not for omar")
      end

      it "receive what is pushed to the page of one visitor: P-36, P-39" do
        [ines, omar].each { |person| open_discussion(person, 2) }
        tab = ines.open_new_window
        ines.within_window(tab) { open_discussion(ines, 2) }
        ines.execute_script("call('draft', { text: 'mine' })")
        expect_line(ines, /saved mine, visit \d+, true/)
        comment(omar, 2, "for all")
        expect_line(ines, "for all")
        ines.within_window(tab) { expect_line(ines, "for all") }
        ines.within_window(tab) { expect(texts(ines, "#seen li").grep(/saved/)).to eq([]) }
        expect(texts(omar, "#seen li").grep(/saved/)).to eq([])
      ensure
        ines.within_window(tab) { ines.current_window.close } if tab
      end

      next unless redis

      it "miss nothing while the server of their connections restarts: P-29, P-31" do
        open_discussion(ines, 3)
        @servers.first.stop
        eventually("the page has lost its connection") { !ines.evaluate_script("NoDevent.connected()") }
        Net::HTTP.post(URI("http://localhost:#{@ports.last}/api/nodevent/emit"), JSON.generate(room: "Discussion_3", event: "comment", message: { text: "meanwhile" }))
        @servers[0] = start_server(@ports.first)
        expect_line(ines, "meanwhile")
        expect(texts(ines, "#seen li").count("meanwhile")).to eq(1)
      end
    end
  end
end
