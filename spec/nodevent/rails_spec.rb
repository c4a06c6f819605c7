# frozen_string_literal: true

require "nodevent/doctor"

RSpec.describe "NoDevent in Rails" do
  include RailsApp

  it "N-100 N-102 has its helpers in every view, and the tag is html_safe" do
    out = rails(<<~RUBY)
      tag = ApplicationController = Class.new(ActionController::Base)
      puts ApplicationController.render(inline: "<%= javascript_include_nodevent %>")
      p ApplicationController.helpers.javascript_include_nodevent.html_safe?
    RUBY
    expect(out).to eq("<script src='http://localhost:8080/api/nodevent' type='text/javascript'></script>\ntrue\n")
  end

  it "N-102 has them whatever the load order, under Bundler" do
    out = rails(<<~RUBY, nodevent_first: true, files: { "Gemfile" => <<~GEMS }, env: { "RUBYOPT" => "-rbundler/setup" })
      puts ActionController::Base.render(inline: "<%= nodevent_url %>")
    RUBY
      gem "nodevent", path: "#{ROOT}"
      %w[rails sqlite3 redis].each { |name| gem name }
    GEMS
    expect(out).to eq("http://localhost:8080/api/nodevent\n")
  end

  it "N-107 emits when a model is created and updated, as the README's SomeModel" do
    out = rails(<<~RUBY, files: { "config/nodevent.yml" => "secret: asdf\n" })
      class SomeModel < ActiveRecord::Base
        include NoDevent::Base

        after_create :nodevent_create
        after_update :nodevent_update

        def as_json(options = {})
          super(options).merge(:nodevent => { :room => room, :key => room_key(Time.now + 1.hour) })
        end
      end
      model = SomeModel.create!(title: "<one>")
      model.update!(title: "two")
      p RECORDER.rooms
      message = RECORDER.published.first.last["message"]
      p message["title"], message["nodevent"]["room"], NoDevent::Native.verify(["/nodevent", "SomeModel_1",
        message["nodevent"]["key"]], ["asdf"], (Time.now.to_f * 1000).to_i, nil, false).is_a?(Integer)
    RUBY
    expect(out).to eq(<<~TEXT)
      [["SomeModel", "create"], ["SomeModel_1", "update"]]
      "<one>"
      "SomeModel_1"
      true
    TEXT
  end

  # Configuration by environment, read by the application itself; models and layout as in the demo of the older gem.
  it "N-108 runs an application written for the older gem" do
    files = { "config/no_devent.yml" => <<~YAML }
      development: { host: "http://localhost:8080" }
      production: { host: "http://push", namespace: /demo, secret: sesame }
    YAML
    out = rails(<<~RUBY, files: files)
      NoDevent::Emitter.config = YAML.load_file(Rails.root.join("config/no_devent.yml"))[Rails.env]
      class SomeModel < ActiveRecord::Base
        include NoDevent::Base
        after_create :nodevent_create
        after_update :nodevent_update
        def as_json(options = {})
          super(options).merge(:nodevent => { :room => room, :key => room_key(1.hour.from_now) })
        end
      end
      layout = '<%= javascript_include_nodevent %><script>var room = ' \\
               '<%= raw({ :key => SomeModel.room_key(1.hour.from_now), :room => SomeModel.room }.to_json) %></script>'
      page = ActionController::Base.render(inline: layout)
      puts page[/<script src[^>]+>/], page[/"room":"SomeModel"/], page[/"key":"\\h{64}:\\d{13}"/] && "a key"
      SomeModel.create!(title: "one").update!(title: "two")
      p RECORDER.rooms, RECORDER.published.map { |_, publication| publication["message"]["nodevent"]["room"] }.uniq
    RUBY
    expect(out).to eq(<<~TEXT)
      <script src='http://localhost:8080/api/nodevent' type='text/javascript'>
      "room":"SomeModel"
      a key
      [["SomeModel", "create"], ["SomeModel_1", "update"]]
      ["SomeModel_1"]
    TEXT
  end

  it "N-88 N-91 accepts Rails' times for keys and rejects durations with a hint" do
    out = rails(<<~RUBY)
      Time.zone = "UTC"
      time = Time.utc(2030, 1, 2)
      keys = [time, time.in_time_zone("Tokyo"), time.to_datetime].map { |at| NoDevent::Emitter.room_key("r", at) }
      p keys.uniq.size, keys.first[/\\d+\\z/]
      begin
        NoDevent::Emitter.room_key("r", 1.hour)
      rescue NoDevent::InvalidExpiryError => e
        puts e.message
      end
    RUBY
    expect(out).to start_with(%(1\n"1893542400000"\na key cannot expire at 1 hour: )).and include("`1 hour.from_now`")
  end

  it "N-83 writes JSON exactly as Hash#to_json does with Active Support" do
    out = rails(<<~RUBY)
      class SomeModel < ActiveRecord::Base; include NoDevent::Base; end
      texts = []
      NoDevent::Emitter.publisher = Object.new.tap { |to| to.define_singleton_method(:publish) { |_, json| texts << json } }
      messages = ["<&>\\u2028\\u2029", nil, 1.5, Time.utc(2020), { nested: [:a, 1r, BigDecimal("1.10")] },
                  SomeModel.create!(title: "t"), SomeModel.all]
      messages.each { |message| NoDevent::Emitter.emit("r", :e, message) }
      p messages.map { |message| { room: "r", event: :e, message: message }.to_json } == texts, texts.first
    RUBY
    expect(out).to eq(%(true\n"{\\"room\\":\\"r\\",\\"event\\":\\"e\\",\\"message\\":\\"\\\\u003c\\\\u0026\\\\u003e) +
                      %(\\\\u2028\\\\u2029\\"}"\n))
  end

  # With only the gem and its configuration: no middleware, no job callbacks, no thread setup.
  it "emits from actions and from jobs, whatever runs them" do
    server = NodeventServer.new({ "/nodevent" => {} })
    client = NoDevent::Doctor::PollingClient.new(server.url, "/nodevent", origin: server.url)
    client.join("lobby")
    rails(<<~RUBY, files: { "config/nodevent.yml" => "public_url: #{server.url}\nurl: #{server.url}\n" })
      DONE = Queue.new
      class Announce < ActiveJob::Base
        def perform(how)
          NoDevent::Emitter.emit("lobby", "job", how)
          DONE << how
        end
      end
      class SomeModel < ActiveRecord::Base
        include NoDevent::Base
        emits_changes room: "lobby", on: :create, message: ->(model) { model.title }
      end
      class PagesController < ActionController::Base
        def create
          NoDevent::Emitter.emit("lobby", "action", "alone")
          SomeModel.create!(title: "by an action")
          Announce.perform_later("inline")
          Announce.queue_adapter = :async
          Announce.perform_later("async")
          head :created
        end
      end
      App.routes.draw { post "/pages", to: "pages#create" }
      status, = App.call(Rack::MockRequest.env_for("/pages", method: "POST"))
      abort "the action answered \#{status}" unless status == 201
      abort "a job was not run" unless [DONE.pop, DONE.pop] == %w[inline async]
    RUBY
    received = Array.new(4) { client.publication.values_at("event", "message") }
    expect(received).to eq([%w[action alone], ["create", "by an action"], %w[job inline], %w[job async]])
  ensure
    client&.close
    server&.stop
  end

  # A script of a Rails application that loads this gem alone: Bundler has activated Rails, and nothing has required it.
  it "emits where Rails is in the bundle but not loaded" do
    server = RedisServer.shared
    listener = Listener.new(server, "/nodevent")
    ruby(<<~RUBY)
      gem "railties"
      require "nodevent"
      NoDevent::Emitter.config = { redis: { port: #{server.port} } }
      NoDevent::Emitter.emit("lobby", "hello", { at: Time.at(0).utc }, wait: true)
    RUBY
    expect(listener.publication).to include("message" => { "at" => "1970-01-01T00:00:00.000Z" })
  ensure
    listener&.stop
  end
end
