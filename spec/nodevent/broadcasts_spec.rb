# frozen_string_literal: true

# Issue 18, "Hotwire first": changes of models as Turbo Streams, without turbo-rails and with what it defines.
RSpec.describe NoDevent::Broadcasts do
  include RailsApp

  partial = '<li id="<%= dom_id(some_model) %>"><%= some_model.title %><%= local_assigns[:note] %></li>'

  # What is published, after the definition of a model and a script.
  define_method(:published) do |macro, script, files: {}|
    views = { "app/views/some_models/_some_model.html.erb" => partial }
    out = rails(<<~RUBY, files: views.merge(files))
      ActionController::Base.prepend_view_path("app/views")
      class ApplicationController < ActionController::Base; end
      class SomeModel < ActiveRecord::Base
        #{macro}
      end
      #{script}
      RECORDER.published.each { |_, publication| puts publication.values_at("room", "event", "message", "except").compact.to_json }
    RUBY
    out.lines.map { |line| JSON.parse(line) }
  end

  life = <<~RUBY
    model = SomeModel.create!(title: "<one>")
    model.update!(title: "two")
    model.destroy!
  RUBY

  it "inserts, replaces and removes what the model's partial renders, after the commit" do
    append = '<turbo-stream action="append" target="some_models"><template><li id="some_model_1">&lt;one&gt;</li></template></turbo-stream>'
    replace = '<turbo-stream action="replace" target="some_model_1"><template><li id="some_model_1">two</li></template></turbo-stream>'
    remove = '<turbo-stream action="remove" target="some_model_1"></turbo-stream>'
    expect(published("broadcasts_nodevent", life)).to eq(
      [["SomeModel", append], ["SomeModel_1", replace], ["SomeModel", replace], ["SomeModel_1", remove], ["SomeModel", remove]]
      .map { |room, html| [room, "turbo-stream", html] }
    )
  end

  it "is received once by a page that is in both rooms" do
    ids = published("broadcasts_nodevent", <<~RUBY)
      SomeModel.create!(title: "x").update!(title: "y")
      puts RECORDER.published.map { |_, publication| publication["publication_id"] }.to_json
      RECORDER.published.clear
    RUBY
    expect(ids).to match([[nil, /\A\w{12}\z/, ids.first.last]])
    expect(ids.first[1]).to eq(ids.first[2])
  end

  it "emits nothing that is rolled back or silenced, and renders nothing without a stream" do
    out = published("broadcasts_nodevent to: -> { nil }, partial: 'missing'\nbroadcasts_nodevent to: 'all'", <<~RUBY)
      SomeModel.transaction { SomeModel.create!; raise ActiveRecord::Rollback }
      NoDevent.silence { SomeModel.create! }
    RUBY
    expect(out).to eq([])
  end

  it "follows to:, on:, inserts_by:, target:, partial: and locals:" do
    macro = <<~'RUBY'
      broadcasts_nodevent to: :board, on: :create, inserts_by: :prepend, target: ->(model) { "list_#{model.id}" }, partial: "own", locals: { note: "!" }
      broadcasts_nodevent to: ->(model) { [model, :titles] }, on: [:update], locals: ->(model) { { note: model.title.size } }
      def board = "board:#{title}"
    RUBY
    out = published(macro, life, files: { "app/views/application/_own.html.erb" => "<b><%= note %></b>" })
    expect(out.map { |room, _, html| [room, html] }).to eq(
      [["board:<one>", '<turbo-stream action="prepend" target="list_1"><template><b>!</b></template></turbo-stream>'],
       ["SomeModel_1:titles", '<turbo-stream action="replace" target="some_model_1"><template><li id="some_model_1">two3</li></template></turbo-stream>']]
    )
  end

  it "refreshes pages but the one that made the request, also with the id that turbo-rails knows" do
    out = published("broadcasts_nodevent refreshes: true, to: 'all'", <<~RUBY)
      NoDevent::Page.with("abc") { SomeModel.create! }
      module Turbo; def self.current_request_id = "r-1"; end
      SomeModel.create!
    RUBY
    except = NoDevent::Page.with("abc") { NoDevent::Page.hash_of(:page) }
    expect(out).to eq([["all", "turbo-stream", '<turbo-stream action="refresh"></turbo-stream>', except],
                       ["all", "turbo-stream", '<turbo-stream action="refresh" request-id="r-1"></turbo-stream>']])
  end

  it "has no key in what it renders" do
    files = { "app/views/some_models/_some_model.html.erb" => "<%= nodevent_stream_from some_model %>" }
    out = published("broadcasts_nodevent", "SomeModel.create!", files: files.merge("config/nodevent.yml" => "secret: asdf\n"))
    expect(out.last.last).to include('<nodevent-stream-source room="SomeModel_1"></nodevent-stream-source>')
  end

  it "rejects what cannot be meant" do
    out = published("", <<~'RUBY')
      [{ on: :save }, { inserts_by: :replace }, { except: "x" }, { streams: 1 }].each do |options|
        SomeModel.broadcasts_nodevent(**options)
      rescue ArgumentError => e
        puts [e.message].to_json
      end
    RUBY
    expect(out.flatten).to match([/on: is :save; write one or more of \[:create/, /inserts_by: is :replace; write one or more of \[:append/,
                                  /except: is "x"; write one or more of \[:page\]/, /unknown keyword: :streams/])
  end
end

RSpec.describe NoDevent::Streams do
  it "names the room of one object as `emit` does, and that of several so that no two are the same" do
    rooms = [[Doc.new(12)], [Doc.new(12), :comments], ["a", "b:c"], ["a:b", "c"], %w[a b c], ["a%3Ab", "c"], [%w[a b], "c"]]
    expect(rooms.map { |one| described_class.room(*one) })
      .to eq(%w[Doc_12 Doc_12:comments a:b%3Ac a%3Ab:c a:b:c a%253Ab:c a:b:c])
    expect { described_class.room }.to raise_error(ArgumentError, /a stream needs a name/)
    expect { described_class.room(nil, "x") }.to raise_error(NoDevent::InvalidRoomError)
  end

  it "escapes text, and not HTML that is marked as safe" do
    stream = described_class.tag(action: :update, target: 'a"b', content: "<b>")
    expect(stream).to eq('<turbo-stream action="update" target="a&quot;b"><template>&lt;b&gt;</template></turbo-stream>')
    html = +"<b>"
    def html.html_safe? = true
    expect(described_class.tag(action: "morph", targets: ".x", content: html, method: "outer"))
      .to eq('<turbo-stream action="morph" targets=".x" method="outer"><template><b></template></turbo-stream>')
  end

  it "writes no markup in the names of attributes" do
    names = ["x onfocus=alert(1)", "y><script>", "z\u0000'\"/", "@click.once"].to_h { |name| [name.to_sym, 1] }
    expect(described_class.tag(action: :refresh, **names, data: { "d><i>" => 5 }))
      .to eq('<turbo-stream action="refresh" x_onfocus_alert(1)="1" y__script_="1" z____="1" @click.once="1" ' \
             'data-d__i_="5"></turbo-stream>')
  end

  it "states which argument is missing" do
    expect { described_class.tag(target: "x") }.to raise_error(ArgumentError, /needs an action; write `action: :append`/)
    expect { described_class.tag(action: :append) }.to raise_error(ArgumentError, /:append needs `target:`, a DOM id, or/)
    expect { described_class.tag(action: :append, target: "x", partial: "y") }.to raise_error(NoDevent::ConfigurationError, /rendered by Rails/)
  end

  it "publishes streams, which tests can expect" do
    NoDevent::Emitter.publisher = recorder = Recorder.new
    described_class.broadcast(Doc.new(1), :list, action: :remove, target: "x")
    described_class.broadcast("lobby", html: "<turbo-stream></turbo-stream>", namespace: "/nodevent")
    expect(recorder.published.map { |_, json| JSON.parse(json).values }).to eq(
      [["Doc_1:list", "turbo-stream", '<turbo-stream action="remove" target="x"></turbo-stream>'],
       ["lobby", "turbo-stream", "<turbo-stream></turbo-stream>"]]
    )
  end
end

RSpec.describe "nodevent_stream_from" do
  let(:view) { Object.new.extend(NoDevent::Helper) }

  before { NoDevent::Emitter.config = { secret: "asdf" } }

  it "makes the element with the room's key" do
    html = view.nodevent_stream_from(Doc.new("<1>"), :list, id: "stream", data: { turbo_permanent: true, x: "<" })
    expect(html).to match(%r{\A<nodevent-stream-source room="Doc_&lt;1&gt;:list" key="\h{64}:\d{13}" id="stream" data-turbo-permanent data-x="&lt;"></nodevent-stream-source>\z})
    key = html[/key="([^"]+)/, 1]
    expect(key).to eq(NoDevent::Emitter.room_key("Doc_<1>:list", key[/\d+\z/].to_i / 1000.0))
  end

  it "signs for the namespace of the class, or the given one" do
    NoDevent::Emitter.config = { "/nodevent" => { secret: "a" }, "/board" => { secret: "b" } }
    doc = Class.new(Doc) { nodevent_namespace "/board" }
    stub_const("Notice", doc)
    key = ->(html) { html[/key="([^"]+)/, 1] }
    expires = ->(html) { key.call(html)[/\d+\z/].to_i / 1000.0 }
    own = view.nodevent_stream_from(doc.new(1))
    expect(key.call(own)).to eq(NoDevent.namespace("/board").room_key("Notice_1", expires.call(own)))
    given = view.nodevent_stream_from(doc.new(1), namespace: "/nodevent")
    expect(key.call(given)).to eq(NoDevent.namespace("/nodevent").room_key("Notice_1", expires.call(given)))
  end

  it "has neither key nor position in a fragment for the cache" do
    view.define_singleton_method(:nodevent_cached?) { true }
    expect(view.nodevent_stream_from("x")).to eq('<nodevent-stream-source room="x"></nodevent-stream-source>')
  end
end
