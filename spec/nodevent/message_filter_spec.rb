# frozen_string_literal: true

# What a message must not contain, at every depth: the attributes that the application filters, and room keys.
#
# Cases: a root key, camelCase keys, a column with JSON, a store, included associations (in lists, polymorphic, below each
# other), methods, records and times in an own as_json, encrypted attributes, digests, filters with a path, as_json with
# a required argument, a Hash that contains itself; keys of room_json in created, updated and emitted records, in
# `message:`, and in objects with their own to_json.
RSpec.describe "Messages of records" do
  include RailsApp

  PEOPLE = <<~'RUBY'
    ActiveRecord::Schema.define do
      create_table(:authors) { |t| t.string :email; t.string :nick; t.string :password_digest; t.string :motto }
      create_table(:posts) { |t| t.string :title; t.json :settings; t.text :options; t.string :api_token; t.integer :author_id; t.string :diary }
    end
    Rails.application.config.filter_parameters += [:token, :email, "settings.pin"]
    class Author < ActiveRecord::Base
      has_many :posts
      self.filter_attributes = [:motto]
      def authenticate_password(*) = nil
    end
    class Post < ActiveRecord::Base
      include NoDevent::Base
      belongs_to :author, optional: true
      store :options, accessors: [:theme, :access_token], coder: JSON
      def self.encrypted_attributes = [:diary].to_set
    end
    AUTHOR = Author.create!(email: "a@b", nick: "Ada", password_digest: "x", motto: "m")
    def publish(&model)
      klass = Class.new(Post) { self.table_name = "posts"; def self.name = "Post"; emits_changes }
      klass.class_eval(&model) if model
      RECORDER.published.clear
      klass.create!(title: "t", api_token: "sesame", diary: "sesame", author: AUTHOR, theme: "dark", access_token: "sesame",
                    settings: { "apiToken" => "sesame", "color" => "red", "pin" => 1, "deep" => [{ "reset-token" => "sesame", "pin" => 2 }] })
      RECORDER.published.last.last["message"]
    end
    SHOWN = { "id" => nil, "title" => "t", "author_id" => 1, "options" => { "theme" => "dark" },
              "settings" => { "color" => "red", "deep" => [{ "pin" => 2 }] } }
  RUBY

  def published(script)
    JSON.parse(rails("#{PEOPLE}#{script}"))
  end

  it "omit what is filtered at every depth" do
    got = published(<<~'RUBY')
      root = publish { self.include_root_in_json = true }
      camel = publish { def as_json(*) = super.deep_transform_keys { |key| key.camelize(:lower) } }
      included = publish { def as_json(*) = super(include: { author: { include: :posts } }) }
      method = publish { def secret_token = "sesame"; def as_json(*) = super(only: :title, methods: :secret_token) }
      objects = publish { def as_json(options) = { author: author, at: Time.utc(2026), list: [author, { email: 1 }], passwordDigest: 2 } }
      bare = publish { def as_json = { title: title, api_token: 1 } }
      puts JSON.generate([publish, root, camel, included, method, objects, bare, SHOWN])
    RUBY
    plain, root, camel, included, method, objects, bare, shown = got
    without_id = ->(json) { json.merge("id" => nil) }
    expect(without_id.call(plain)).to eq(shown)
    expect([root.keys, without_id.call(root.values.first)]).to eq([["post"], shown])
    expect(camel.keys).to match_array(%w[id title settings options authorId])
    expect([camel["settings"], camel["options"]]).to eq([{ "color" => "red", "deep" => [{ "pin" => 2 }] }, { "theme" => "dark" }])
    expect(included["author"].keys).to match_array(%w[id nick posts])
    expect(included["author"]["posts"].first.keys).to match_array(%w[id title settings options author_id])
    expect([method, bare]).to eq([{ "title" => "t" }] * 2)
    expect(objects).to eq("author" => { "id" => 1, "nick" => "Ada" }, "at" => "2026-01-01T00:00:00.000Z", "list" => [{ "id" => 1, "nick" => "Ada" }, {}])
    expect(JSON.generate(got)).not_to include("sesame")
    expect(@rails_log).to match(/emits_changes of \S+ omits settings.apiToken, settings.pin, settings.deep.reset-token, options.access_token, api_token, diary, /)
  end

  it "that contain themselves raise the documented error, and lose no change" do
    got = published(<<~'RUBY')
      error = begin
        publish { def as_json(*) = {}.tap { |hash| hash["self"] = hash } }
      rescue NoDevent::EncodingError => e
        e.message
      end
      puts JSON.generate([error, Post.count])
    RUBY
    expect(got).to match([/nested more than 100 deep; select the attributes/, 1])
  end

  it "contain the room of room_json but no key, position or location of keys" do
    got = published(<<~'RUBY')
      NoDevent.authorize { true }
      class Keyed < Post
        self.table_name = "posts"
        emits_changes
        after_commit { emit("again") }
        def as_json(*) = { nodevent: room_json, same: nodevent_room_json(60), title: title }
      end
      class Explicit < Post
        self.table_name = "posts"
        emits_changes message: ->(post) { { title: post.title, nodevent: post.room_json, same: ActionController::Base.helpers.nodevent_data(post) } }
      end
      Keyed.create!(title: "t").tap { |post| post.update!(title: "u"); post.emit("by hand", post); post.emit("listed", [post]) }
      Explicit.create!(title: "t")
      messages = RECORDER.published.map { |_, publication| publication["message"] }
      puts JSON.generate([messages, Keyed.first.as_json, (Keyed.first.emit("e", BasicObject.new) rescue Keyed.first.room_json.keys)])
    RUBY
    messages, outside, after = got
    expect(messages.size).to eq(9) # `create` also goes to the room of the parent class
    expect(messages.flatten.flat_map { |message| message.values_at("nodevent", "same") }.compact.map(&:keys).uniq).to eq([["room"], ["nodevent_room"]])
    expect(JSON.generate(messages)).not_to match(/\h{64}/)
    expect(messages.first).to include("nodevent" => { "room" => "Keyed_1" })
    expect(outside["nodevent"].keys).to eq(%w[room key key_url])
    expect(after).to eq(%w[room key key_url])
  end
end

RSpec.describe NoDevent::Encoder, :native do
  it "gives objects with their own to_json no key either, and restores the flag after errors" do
    own = Class.new(Doc) { def to_json(*) = JSON.generate(room_json) }
    stub_const("Own", own)
    NoDevent::Emitter.config = { secret: "asdf" }
    json = described_class.encode("r", { room: "r", event: "e", message: Own.new(1) }, NoDevent::Emitter.config)
    expect(JSON.parse(json)["message"]).to eq("room" => "Own_1")
    failing = Class.new { def to_json(*) = raise("no") }
    expect { described_class.encode("r", { room: "r", event: "e", message: failing.new }, NoDevent::Emitter.config) }.to raise_error("no")
    expect(Own.new(1).room_json.keys).to eq(%i[room key])
  end
end
