# frozen_string_literal: true

require "digest"

# Issue 11, section I: the page that made a request does not receive the event that the request causes.
#
# Cases: over Redis and over HTTP, live and in a recovery; `except:` as `:page`, an id and a request; outside of a
# request; an invalid header; a model's callbacks; a job; nested requests; concurrent requests; renamed records.
RSpec.describe "except:" do
  include RailsApp

  def hash_of(id)
    Digest::SHA256.hexdigest(id)[0, 16]
  end

  # A page's Server-Sent Events, from a position on.
  class PageEvents
    def initialize(server, room, page, since: nil)
      @socket = TCPSocket.new("127.0.0.1", server.port)
      query = ["page=#{page}", since && "since=#{since}"].compact.join("&")
      @socket.write("GET /api/nodevent/rooms/#{room}/events?#{query} HTTP/1.1\r\nHost: localhost\r\n\r\n")
      @text = +""
      Timeout.timeout(Waiting::LIMIT) { read until @text.include?("event: joined") }
    end

    # The messages up to this one.
    def up_to(last)
      Timeout.timeout(Waiting::LIMIT) { read until messages.include?(last) }
      messages
    end

    def close
      @socket.close
    end

    private

    def read
      @text << @socket.readpartial(65_536)
    end

    def messages
      @text.scan(/^data: (\{.*"room".*\})\r?$/).map { |json,| JSON.parse(json) }.filter_map { |one| one["message"] }
    end
  end

  # Emits with `except`, and checks what two pages receive live and in a recovery.
  def check(server, settings)
    NoDevent::Emitter.config = settings
    emit = ->(message, **options) { NoDevent::Emitter.emit("r", "e", message, wait: true, **options) }
    eventually("the server receives") { emit.call("first") && server_position(server) }
    start = server_position(server)
    live = %w[author other].to_h { |page| [page, PageEvents.new(server, "r", page)] }
    emit.call("for all")
    emit.call("not for the author", except: "author")
    emit.call("last")
    recovered = %w[author other].to_h { |page| [page, PageEvents.new(server, "r", page, since: start)] }
    [live, recovered].each { |pages| expect_received(pages) }
  ensure
    [live, recovered].compact.flat_map(&:values).each(&:close)
  end

  def expect_received(pages)
    expect(pages["author"].up_to("last") - ["first"]).to eq(["for all", "last"])
    expect(pages["other"].up_to("last") - ["first"]).to eq(["for all", "not for the author", "last"])
  end

  def server_position(server)
    response = Net::HTTP.get(URI("#{server.url}/api/nodevent/rooms/r/history"))
    JSON.parse(response)["position"]
  end

  it "reaches every page but one, over Redis and over HTTP, live and in a recovery", :native do
    redis = RedisServer.new
    over_redis = NodeventServer.new({ "/nodevent" => { "open" => true, "redis" => { "url" => redis.url } } })
    over_http = NodeventServer.new({ "/nodevent" => { "open" => true } })
    check(over_redis, redis: redis.url)
    check(over_http, url: over_http.url)
  ensure
    [over_redis, over_http, redis].compact.each(&:stop)
  end

  it "excludes the page of the current request in a Rails application" do
    got = JSON.parse(rails(<<~'RUBY'))
      require "rack/test"
      class SomeModel < ActiveRecord::Base
        include NoDevent::Base
        emits_changes except: :page
        after_commit -> { nodevent_emit("by hand", { id: id }, except: :page) }, on: :create
      end
      class RenamedModel < SomeModel
        self.table_name = "some_models"
        def to_param = title
      end
      class SaveJob < ActiveJob::Base
        def perform(page) = NoDevent::Page.with(page) { SomeModel.create!(title: "job") }
      end
      class ModelsController < ActionController::Base
        def create
          SomeModel.create!(title: "one")
          NoDevent::Emitter.emit("r", "request", 1, except: request)
          SaveJob.perform_later("job-page")
          head :created
        end
      end
      App.routes.draw { post "/models", to: "models#create" }
      def excluded
        RECORDER.published.clear
        yield
        RECORDER.published.map { |_, one| [one["room"], one["event"], one["except"]] }
      end
      def request(headers) = Rack::MockRequest.new(App).post("/models", headers)
      result = {
        "page" => excluded { request("HTTP_X_NODEVENT_PAGE" => "page-1") },
        "no header" => excluded { request({}) },
        "invalid" => excluded { request("HTTP_X_NODEVENT_PAGE" => "a b\n") },
        "too long" => excluded { request("HTTP_X_NODEVENT_PAGE" => "x" * 65) },
        "afterwards" => [NoDevent::Page.current, excluded { SomeModel.create!(title: "console") }]
      }
      renamed = RenamedModel.create!(title: "old")
      RECORDER.published.clear
      NoDevent::Page.with("p") { renamed.update!(title: "new") }
      result["renamed"] = RECORDER.published.map { |_, one| one.values_at("room", "except") }
      result["copies"] = RECORDER.published.map { |_, one| one["publication_id"] }.uniq
      RECORDER.published.clear
      renamed.update!(updated_at: Time.now)
      SomeModel.create!(title: "x")
      result["one room"] = RECORDER.published.map { |_, one| one["publication_id"] }.uniq
      puts JSON.generate(result)
    RUBY
    all = lambda do |page|
      [["SomeModel", "create", page], [/\ASomeModel_/, "by hand", page], ["r", "request", page]]
    end
    job = [["SomeModel", "create", hash_of("job-page")], [/\ASomeModel_/, "by hand", hash_of("job-page")]]
    expect(got["page"]).to match_array(all.call(hash_of("page-1")) + job)
    ["no header", "invalid", "too long"].each { |name| expect(got[name]).to match_array(all.call(nil) + job) }
    expect(got["afterwards"]).to match([nil, contain_exactly(*all.call(nil).first(2))])
    # Issue 11, section B: a page that is in both rooms receives the event once; see client/test/nodevent/copies.test.js.
    expect(got["copies"]).to match([/\A\w{12}\z/])
    expect(got["one room"]).to eq([nil])
    expect(got["renamed"]).to contain_exactly(["RenamedModel_old", hash_of("p")], ["RenamedModel_new", hash_of("p")])
  end

  it "belongs to one thread and fiber, and is restored after a nested request and an exception" do
    page = NoDevent::Page
    seen = page.with("one") do
      other = Thread.new { page.current }.value
      inner = page.with("two") { page.current }
      page.with("three") { raise "x" } rescue nil # rubocop:disable Style/RescueModifier
      [other, inner, page.current]
    end
    expect(seen).to eq([nil, "two", "one"])
    expect(page.current).to be_nil
  end

  it "rejects what names no page, before anything is emitted" do
    recorder = Recorder.new
    NoDevent::Emitter.publisher = recorder
    ["", "a b", "ä", "x" * 65, 7, :author, [], Object.new].each do |except|
      expect { NoDevent::Emitter.emit("r", "e", 1, except: except) }
        .to raise_error(ArgumentError, /invalid except: .*except: :page/)
    end
    expect { NoDevent::Emitter.emit("r", "e", except: :page) }.to raise_error(ArgumentError, /ambiguous call/)
    expect(recorder.published).to be_empty
    NoDevent::Emitter.emit("r", "e", 1, except: nil)
    NoDevent::Emitter.emit("r", "e", { except: "x" })
    expect(recorder.published.map { |_, json| JSON.parse(json) })
      .to eq([{ "room" => "r", "event" => "e", "message" => 1 },
              { "room" => "r", "event" => "e", "message" => { "except" => "x" } }])
    klass = Class.new { include NoDevent::Base }
    expect { klass.emits_changes(except: "author") }.to raise_error(ArgumentError, /write `except: :page`/)
  end
end
