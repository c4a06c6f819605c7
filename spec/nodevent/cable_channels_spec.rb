# frozen_string_literal: true

# Issue 17: channels written in Ruby, with the real server, under Puma.
#
# Cases: connections with cookies, sessions and parameters; rejected; actions, streams, transmissions, state; callbacks of
# channels; what fails; an application that is slow, away, or raises; the end of connections and subscriptions; remote
# disconnects; a record that is deleted; requests without a signature.
RSpec.describe "Channels in Ruby" do
  source = <<~'RUBY'
    LOG = Queue.new
    module ApplicationCable
      class Connection < ActionCable::Connection::Base
        identified_by :current_user, :tenant
        state_attr_accessor :visits

        def connect
          sleep(Float(request.params[:slow])) if request.params[:slow]
          raise "no connection to the database" if request.params[:broken]

          id = request.params[:user] || cookies[:user] || request.session[:user]
          self.current_user = User.find_by(id: id) or reject_unauthorized_connection
          self.tenant = request.host.split(".").first
          self.visits = 1
        end

        def disconnect = LOG << ["disconnect", current_user.name]
      end
      class Channel < ActionCable::Channel::Base; end
    end

    class ChatChannel < ApplicationCable::Channel
      state_attr_accessor :room, :count, :post

      after_subscribe -> { transmit({ "after" => "subscribe" }) }, if: -> { params[:verbose] }
      rescue_from(ArgumentError) { |error| transmit({ "rescued" => error.message }) }

      def subscribed
        return reject if params[:room] == "secret"
        raise "cannot subscribe" if params[:room] == "broken"

        self.room = params[:room]
        self.count = 0
        stream_from "chat:#{room}"
        transmit({ "hello" => current_user.name, "tenant" => tenant })
      end

      def unsubscribed = LOG << ["unsubscribed", room, count, current_user.name]
      def receive(data) = transmit({ "received" => data })

      def speak(data)
        self.count += 1
        ActionCable.server.broadcast("chat:#{room}", { "text" => data["text"], "from" => current_user.name, "n" => count })
      end

      def follow(data)
        self.post = Post.find(data["post"])
        stream_for post
        connection.visits += 1
      end

      def followed = transmit({ "post" => post&.title, "visits" => connection.visits })
      def unfollow = stop_stream_for(post)
      def quiet = stop_all_streams
      def move(data)
        stop_stream_from "chat:#{room}"
        self.room = data["room"]
        stream_from "chat:#{room}"
      end

      def broken = raise("the action's own text")
      def invalid = raise(ArgumentError, "no number")
      def kick = connection.close(reconnect: false)
      def keep = self.room = Object.new
      def slow(data)
        sleep(data["seconds"])
        transmit({ "slept" => data["seconds"] })
      end

      private

      def hidden = transmit({ "hidden" => true })
    end

    class QuietChannel < ApplicationCable::Channel; end

    class BlockChannel < ApplicationCable::Channel
      def subscribed = stream_from("chat:1") { |message| transmit(message) }
    end

    class TimerChannel < ApplicationCable::Channel
      periodically(:tick, every: 1)
      def tick = transmit("tick")
    end

    class SignedChannel < Turbo::StreamsChannel
      def subscribed = current_user.name == "Ann" ? super : reject
    end

    class PagesController < ActionController::Base
      def up = head(:ok)
      def sign_in = (session[:user] = params[:user]) && head(:ok)
      def disconnect = ActionCable.server.remote_connections.where(current_user: User.find(params[:user]), tenant: "127").disconnect && head(:ok)
      def log = render(json: Array.new(LOG.size) { LOG.pop })
      def destroy_user = User.find(params[:user]).destroy && head(:ok)
      def token = render(plain: Turbo::StreamsChannel.signed_stream_name(["posts"]))
      def publish = ActionCable.server.broadcast(params[:stream], params[:message]) && head(:ok)
    end
    App.routes.draw { %w[up sign_in disconnect log destroy_user token publish].each { |name| match "/#{name}", to: "pages##{name}", via: :all } }
    User.create!(name: "Ann")
    User.create!(name: "Bob")
    Post.create!(title: "First")
  RUBY

  define_method(:start) { |**options| @app = CableApp.new(source, **options) }

  attr_reader :app

  after { @app&.stop }

  def chat(room = "1", **params)
    JSON.generate({ channel: "ChatChannel", room: room, **params })
  end

  # What the application has logged for itself, when it has this many entries.
  def logged(count)
    all = []
    eventually("#{count} entries of the log", limit: 30) { (all += JSON.parse(app.get("/log").body)).size >= count }
    all
  end

  def publish(stream, message)
    app.post("/publish?stream=#{stream}&message=#{message}")
  end

  [true, false].each do |with_redis|
    it "subscribe, act, stream, transmit and keep their state, #{with_redis ? 'over Redis' : 'in memory'}" do
      redis = RedisServer.new if with_redis
      start(namespace: with_redis ? { "redis" => redis.url } : {})
      ann = app.welcome({ "Cookie" => "user=1" })
      bob = app.welcome({}, path: "/cable?user=2")
      expect(ann.subscribe(chat)).to eq(["confirm_subscription", [{ "hello" => "Ann", "tenant" => "127" }]])
      expect(bob.subscribe(chat)).to eq(["confirm_subscription", [{ "hello" => "Bob", "tenant" => "127" }]])
      2.times { |number| ann.perform(chat, "speak", text: "<#{number}>") }
      expected = Array.new(2) { |number| { "text" => "<#{number}>", "from" => "Ann", "n" => number + 1 } }
      [ann, bob].each { |client| expect([client.message, client.message]).to eq(expected) }

      ann.perform(chat, "follow", post: 1)
      ann.perform(chat, "followed")
      expect(ann.message).to eq("post" => "First", "visits" => 2)
      publish("chat:#{app.get('/token').body.empty?}", "elsewhere")
      ann.perform(chat, "unfollow")
      bob.perform(chat, "move", room: "2")
      bob.perform(chat, "followed")
      expect(bob.message).to eq("post" => nil, "visits" => 1)
      publish("chat:1", "one")
      publish("chat:2", "two")
      expect([ann.message, bob.message]).to eq(%w[one two])
      ann.perform(chat, "quiet")
      ann.send("message", chat, { "text" => "no action" })
      expect(ann.message).to eq("received" => { "text" => "no action" })
      publish("chat:1", "three")
      expect(ann.silent?(chat("2", verbose: nil))).to be(false), "it says hello"

      ann.send("unsubscribe", chat)
      expect(logged(1)).to eq([["unsubscribed", "1", 2, "Ann"]])
      bob.close
      expect(logged(2)).to contain_exactly(["unsubscribed", "2", 0, "Bob"], %w[disconnect Bob])
      ann.drop
      expect(logged(2)).to contain_exactly(["unsubscribed", "2", 0, "Ann"], %w[disconnect Ann])
    ensure
      redis&.stop
    end
  end

  it "know the visitor by the session, and are decided about by the connection" do
    start
    cookie = app.post("/sign_in?user=2")["Set-Cookie"][/\A[^;]+/]
    expect(app.welcome({ "Cookie" => cookie }).subscribe(chat).last).to eq([{ "hello" => "Bob", "tenant" => "127" }])
    rejected = { "type" => "disconnect", "reason" => "unauthorized", "reconnect" => false }
    expect(app.client.last_frames).to eq([rejected])
    expect(app.client({ "Cookie" => "user=7" }).last_frames).to eq([rejected])
    unavailable = { "type" => "disconnect", "reason" => "unavailable", "reconnect" => true }
    expect(app.client(path: "/cable?user=1&broken=1").last_frames).to eq([unavailable])
    expect(app.application.log).to include("no connection to the database")
  end

  it "get what Rails would send if they reject, fail, or do not exist" do
    start
    client = app.welcome({ "Cookie" => "user=1" })
    expect(client.subscribe(chat("secret"))).to eq(["reject_subscription", []])
    expect(client.subscribe(JSON.generate(channel: "Object"))).to eq(["reject_subscription", []])
    expect(client.subscribe(JSON.generate(channel: "NoChannel"))).to eq(["reject_subscription", []])
    expect(client.subscribe(JSON.generate(channel: "BlockChannel"))).to eq(["reject_subscription", []])
    expect(app.application.log).to include("BlockChannel: stream_from with a block, a callback or a coder cannot work")
    expect(client.subscribe(JSON.generate(channel: "TimerChannel"))).to eq(["confirm_subscription", []])
    expect(app.application.log).to include("TimerChannel: `periodically` does not run")
    client.send("subscribe", chat("broken"))
    verbose = chat("1", verbose: true)
    hello = [{ "hello" => "Ann", "tenant" => "127" }, { "after" => "subscribe" }]
    expect(client.subscribe(verbose)).to eq(["confirm_subscription", hello])
    %w[broken hidden keep missing].each { |action| client.perform(verbose, action) }
    client.perform(verbose, "invalid")
    expect(client.message).to eq("rescued" => "no number")
    client.perform(verbose, "speak", text: "still here")
    expect(client.message).to include("text" => "still here", "n" => 1)
    expect(app.application.log).to include("cannot subscribe").and include("the action's own text")
      .and include("room is an object of the class Object, which cannot be kept between commands")
    client.perform(verbose, "kick")
    expect(client.last_frames).to eq([{ "type" => "disconnect", "reason" => "remote", "reconnect" => false }])
  end

  it "do not wait for each other, and commands of one connection stay in order" do
    start
    slow = app.welcome({ "Cookie" => "user=1" })
    quick = app.welcome({ "Cookie" => "user=2" })
    [slow, quick].each { |client| client.subscribe(chat) }
    slow.perform(chat, "slow", seconds: 0.5)
    slow.perform(chat, "speak", text: "after")
    quick.perform(chat, "speak", text: "at once")
    expect(quick.message).to include("text" => "at once")
    expect(slow.message).to include("text" => "at once")
    expect(slow.message).to eq("slept" => 0.5)
    expect(slow.message).to include("text" => "after")
    token = app.get("/token").body
    slow.perform(chat, "slow", seconds: 0.4)
    turbo = JSON.generate(channel: "Turbo::StreamsChannel", signed_stream_name: token)
    expect(slow.subscribe(turbo)).to eq(["confirm_subscription", []]), "streams of Turbo do not wait"
    expect(slow.message).to eq("slept" => 0.4)
  end

  it "leave connections alone while the application does not respond, and go on when it is back" do
    start(calls: { "timeout" => "1s" })
    client = app.welcome({ "Cookie" => "user=1" })
    client.subscribe(chat)
    client.perform(chat, "slow", seconds: 3) # the application does not respond in time
    token = app.get("/token").body
    publish("chat:1", "meanwhile")
    expect(client.message).to eq("meanwhile")
    expect(client.subscribe(JSON.generate(channel: "Turbo::StreamsChannel", signed_stream_name: token))).to eq(["confirm_subscription", []])
    eventually("an action runs again", limit: 60) do
      client.perform(chat, "speak", text: "back")
      sleep 0.2 # a click of the visitor
      publish("chat:1", "marker")
      frames = []
      frames << client.message until frames.last == "marker"
      frames.any? { |frame| frame.is_a?(Hash) && frame["text"] == "back" }
    end
  end

  it "end by remote_connections, with the reason of Rails, and by a visitor who is deleted" do
    start
    ann = app.welcome({ "Cookie" => "user=1" })
    bob = app.welcome({ "Cookie" => "user=2" })
    [ann, bob].each { |client| client.subscribe(chat) }
    app.post("/disconnect?user=1")
    expect(ann.last_frames).to eq([{ "type" => "disconnect", "reason" => "remote", "reconnect" => true }])
    publish("chat:1", "only for Bob")
    expect(bob.message).to eq("only for Bob")
    app.welcome({ "Cookie" => "user=1" }).close
    app.post("/destroy_user?user=2")
    bob.perform(chat, "speak", text: "from no one")
    expect(bob.last_frames).to eq([{ "type" => "disconnect", "reason" => "remote", "reconnect" => true }])
    expect(app.client({ "Cookie" => "user=2" }).last_frames.first["reason"]).to eq("unauthorized")
    # Ann was disconnected, and the channel of Bob ended without him.
    expect(logged(2)).to include(["unsubscribed", "1", 0, "Ann"], %w[disconnect Ann])
    eventually("the end of Bob's channel") { app.application.log.include?("undefined method `name' for nil") }
  end

  it "may have a signed name of Turbo, about which they decide" do
    start
    identifier = JSON.generate(channel: "SignedChannel", signed_stream_name: app.get("/token").body)
    ann = app.welcome({ "Cookie" => "user=1" })
    bob = app.welcome({ "Cookie" => "user=2" })
    expect(bob.subscribe(identifier)).to eq(["reject_subscription", []])
    expect(ann.subscribe(identifier)).to eq(["confirm_subscription", []])
    publish("posts", "html")
    expect(ann.message).to eq("html")
    forged = JSON.generate(channel: "SignedChannel", signed_stream_name: "InBvc3RzIg==--#{'0' * 64}")
    expect(ann.subscribe(forged)).to eq(["reject_subscription", []])
  end

  it "run only for requests that the server has signed" do
    start
    send = lambda do |body, headers = {}|
      response = Net::HTTP.post(URI("#{app.application.url}/nodevent/cable"), body, headers)
      [response.code, JSON.parse(response.body)]
    end
    command = { command: "connect", message: { query: "user=1" } }
    body = JSON.generate(type: "command", **command)
    expect(send.call(body)).to eq(["401", { "error" => "the signature is wrong or too old" }])
    signed = lambda do |text, namespace = "/cable"|
      parts = [namespace, "POST", "/nodevent/cable", "c", "", text]
      signature = NoDevent::Realtime::SignedRequest.sign(CableApp::CALLS_SECRET, Time.now.to_i, parts)
      send.call(text, "X-NoDevent-Signature" => signature, "X-NoDevent-Connection" => "c", "X-NoDevent-Namespace" => namespace)
    end
    expect(signed.call(body).last).to include("status" => "ok")
    expect(signed.call(body, "/other").first).to eq("401")
    # What a page sends to a handler is no command.
    expect(signed.call(JSON.generate(type: "message", action: "connect", **command)).first).to eq("400")
    expect(signed.call("[]").first).to eq("400")
    expect(signed.call("{").first).to eq("400")
    expect(app.application.log).to include("channels: a request without a valid signature was rejected")
    expect(app.get("/nodevent/cable").code).to eq("405")
    expect(app.get("/up").code).to eq("200")
  end
end
