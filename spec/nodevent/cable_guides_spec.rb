# frozen_string_literal: true

require "nodevent/cable/check"
require "tmpdir"

# Follows docs/from-action-cable.md and docs/from-anycable.md from their own texts, with the real server and Rails.
RSpec.describe "The guides for applications with Action Cable" do
  controller = <<~'RUBY'
    class PagesController < ActionController::Base
      def up = head(:ok)
      def sign_in = (cookies.signed[:user_id] = params[:user]) && head(:ok)
      def show = render(inline: TEMPLATE)
      def publish
        50.times { |n| ActionCable.server.broadcast("posts", n) }
        NoDevent.flush
        head :ok
      end
    end
    App.routes.draw { %w[up sign_in show publish].each { |name| match "/#{name}", to: "pages##{name}", via: :all } }
    User.create!(name: "Ann")
  RUBY
  base = "module ApplicationCable; class Channel < ActionCable::Channel::Base; end; end\n"

  after { [@app, *@others].compact.each(&:stop) }

  # The identifier of the tag in a page, as the stock element sends it.
  def identifier(html)
    attributes = html.scan(/([\w-]+)="(.*?)"/).to_h.transform_values { |value| CGI.unescapeHTML(value) }
    data = attributes.select { |name, _| name.start_with?("data-") }
    JSON.generate({ channel: attributes["channel"], signed_stream_name: attributes["signed-stream-name"],
                    **data.transform_keys { |name| name.delete_prefix("data-").tr("-", "_").to_sym } })
  end

  describe "from-action-cable.md" do
    let(:guide) { Guide.new("from-action-cable.md", "Step by step") }

    define_method(:start) do |**options|
      namespace = guide.configuration["/cable"]
      namespace["action_cable"]["secret_key_base"] = CableApp::SECRET_KEY_BASE
      cable = YAML.safe_load(guide.code("yml"))["production"]
      source = "TEMPLATE = #{guide.code('erb').dump}\n#{guide.code('ruby', 2)}\n#{base}#{guide.code('ruby', 1)}#{controller}"
      CableApp.new(source, **{ namespace: namespace.except("calls"), calls: namespace["calls"].except("url"), cable: cable }.merge(options))
    end

    it "finds what has to change in its channel, and nothing after the change" do
      Dir.mktmpdir do |folder|
        FileUtils.mkdir_p(File.join(folder, "app/channels"))
        check = lambda do |code|
          File.write(File.join(folder, "app/channels/chat_channel.rb"), code)
          StringIO.new.tap { |out| NoDevent::Cable::Check.report(folder, out: out) }.string
        end
        expect(check.call(guide.code("ruby", 0))).to eq(guide.code("text"))
        expect(check.call(guide.code("ruby", 1))).to eq("ok: nothing in app/channels needs to change\n")
      end
    end

    it "has channels and a connection that work, for visitors who are signed in" do
      @app = start
      cookie = @app.post("/sign_in?user=1")["Set-Cookie"][/\A[^;]+/]
      client = @app.welcome({ "Cookie" => cookie })
      identifier = JSON.generate(channel: "ChatChannel", room: "1")
      expect(client.subscribe(identifier)).to eq(["confirm_subscription", []])
      client.perform(identifier, "speak", text: "Hello")
      expect(client.message).to eq("text" => "Hello", "from" => "Ann")
      expect(@app.client.last_frames.first["reason"]).to eq("unauthorized")
    end

    it "loses none of the messages of which Action Cable loses all" do
      stock = start(cable: { "adapter" => "async" }, mount_path: "/cable")
      @others = [stock]
      @app = start
      [stock, @app].each do |one|
        cookie = one.post("/sign_in?user=1")["Set-Cookie"][/\A[^;]+/]
        html = eventually("a page with a position", limit: 30) do
          one.get("/show").body.then { |text| text if one == stock || text.include?("data-nodevent-since") }
        end
        one.post("/publish")
        port = one == stock ? one.application.port : one.server.port
        headers = { "Cookie" => cookie, "Origin" => "http://127.0.0.1:#{port}" }
        client = CableClient.welcome(port, headers)
        expect(client.subscribe(identifier(html))).to eq(["confirm_subscription", one == stock ? [] : (0..49).to_a])
        one.post("/publish")
        expect(Array.new(50) { client.message }.sort).to eq((0..49).to_a), "what is published from then on"
      end
    end
  end

  describe "from-anycable.md" do
    let(:guide) { Guide.new("from-anycable.md", "Step by step") }

    it "has tokens, signed names and broadcasts that work" do
      namespace = guide.configuration["/cable"]
      namespace["action_cable"]["secret_key_base"] = CableApp::SECRET_KEY_BASE
      source = <<~RUBY
        class PagesController < ActionController::Base
          def up = head(:ok)

          def show
            current_user = User.first
            #{guide.code('ruby', 0)}
            render json: [token, stream]
          end

          def publish
            #{guide.code('ruby', 1)}
            head :ok
          end
        end
        App.routes.draw { %w[up show publish].each { |name| match "/\#{name}", to: "pages#\#{name}", via: :all } }
        User.create!(name: "Ann")
      RUBY
      @app = CableApp.new(source, namespace: namespace, calls: nil)
      token, stream = JSON.parse(@app.get("/show").body)
      expect(guide.code("js")).to include("createCable(`wss://live.example.com/cable?jid=${token}`", "streamFromSigned(stream)")
      client = CableClient.new(@app.server.port, { "Sec-WebSocket-Protocol" => "actioncable-v1-ext-json" }, path: "/cable?jid=#{token}")
      expect(client.next).to include("type" => "welcome")
      identifier = JSON.generate(channel: "$pubsub", signed_stream_name: stream)
      expect(client.subscribe(identifier).first).to eq("confirm_subscription")
      @app.post("/publish")
      expect(client.next).to include("message" => { "text" => "Hello" }, "stream_id" => "chat/1", "offset" => 1)
      expect(CableClient.new(@app.server.port, {}, path: "/cable?jid=a.b.c").last_frames.first["reason"]).to eq("unauthorized")
    end
  end
end
