# frozen_string_literal: true

require "nodevent/doctor"

# Issue 11, section I: events that are published between rendering and the first join are not lost.
#
# Cases: publishing over HTTP and over Redis, without history, a room that this process did not publish to, a publication
# during the request, a request outside of Rails' executor, another namespace.
RSpec.describe "The position in nodevent_data" do
  include RailsApp

  # What the actions of a Rails application return for `settings`.
  def pages(settings)
    out = rails(<<~RUBY, files: { "config/nodevent.yml" => settings })
      class PagesController < ActionController::Base
        def show
          NoDevent::Emitter.emit("lobby", "during", 1, wait: true) if params[:emit]
          render json: { data: helpers.nodevent_data("lobby"), json: Room.new(1).room_json, other: helpers.nodevent_data("other") }
        end
      end
      Room = Struct.new(:id) { include NoDevent::Base }
      App.routes.draw { get "/page", to: "pages#show" }
      def page(query = "")
        _, _, body = App.call(Rack::MockRequest.env_for("/page\#{query}"))
        JSON.parse(body.each.to_a.join).then { |page| [page["data"]["nodevent_position"], page["json"]["position"], page["other"]["nodevent_position"]] }
      end
      first = page
      NoDevent::Emitter.emit("lobby", "before", 1, wait: true)
      Room.new(1).emit("before", 1, wait: true)
      outside = ActionController::Base.helpers.nodevent_data("lobby")[:nodevent_position]
      puts JSON.generate([first, page, page("?emit=1"), page, outside])
    RUBY
    JSON.parse(out)
  end

  it "is the last one before the request started, over HTTP" do
    server = NodeventServer.new({ "/nodevent" => { "open" => true } })
    first, before, during, after, outside = pages("public_url: #{server.url}\nurl: #{server.url}\n/nodevent: {open: true}\n")
    expect(first).to eq([nil, nil, nil])
    expect(before).to match([/\A\h{16}:1\z/, /\A\h{16}:1\z/, nil])
    expect(during).to eq(before)
    expect(after.first).to match(/\A\h{16}:2\z/)
    expect(outside).to be_nil
  ensure
    server&.stop
  end

  it "is the last one before the request started, over Redis" do
    redis = RedisServer.new
    first, before, during, after, = pages("/nodevent: {redis: '#{redis.url}/0', open: true}\n")
    expect(first).to eq([nil, nil, nil])
    expect(before).to match([/\A\h{16}:1\z/, /\A\h{16}:1\z/, nil])
    expect([during, after.first]).to match([before, /\A\h{16}:2\z/])
  ensure
    redis&.stop
  end

  it "is absent without a history" do
    redis = RedisServer.new
    expect(pages("/nodevent: {redis: '#{redis.url}/0', open: true, history: off}\n").flatten.uniq).to eq([nil])
  ensure
    redis&.stop
  end

  it "is forgotten beyond 1,024 rooms and after the age of the history", :native do
    NoDevent::Emitter.config = { redis: { port: RedisServer.shared.port }, history: { age: "1h" } }
    position = ->(room, age = 3600.0) { NoDevent::Native.position("/nodevent", room, 0.0, age) }
    NoDevent::Emitter.emit("first", "e", 1, wait: true)
    expect([position.call("first"), position.call("first", 0.0)]).to match([/\A\h{16}:\d+\z/, nil])
    1_024.times { |number| NoDevent::Emitter.emit("room-#{number}", "e", 1) }
    NoDevent::Emitter.publisher.flush
    expect([position.call("first"), position.call("room-1023")]).to match([nil, /\A\h{16}:\d+\z/])
  end
end
