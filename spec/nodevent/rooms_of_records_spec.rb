# frozen_string_literal: true

# Issue 11, section B: a page and its record agree on the room.
#
# Cases: SimpleDelegator, DelegateClass, nested delegators, a Draper-like decorator, a form object with `to_model`,
# `becomes` up and down the hierarchy, `becomes!`, slugs that change once and several times in one transaction, a slug
# change that is rolled back, a destroy with unsaved changes, an override that depends on an attribute, single-table
# inheritance, `nodevent_room_by` with a name, names, a block and for the application, composite keys, UUIDs, a `to_param`
# of nil, equal ids in two databases.
RSpec.describe "Rooms of records" do
  include RailsApp

  def result(script)
    out = rails(<<~RUBY)
      ActiveRecord::Schema.define do
        create_table(:posts) { |t| t.string :title; t.string :slug; t.integer :board_id; t.string :type; t.timestamps }
        create_table(:tokens, id: :string) { |t| t.string :title }
      end
      RESULT = {}
      class Post < ActiveRecord::Base
        self.inheritance_column = nil
        include NoDevent::Base
        emits_changes
      end
      # The rooms and events that the block emits to.
      def emitted
        RECORDER.published.clear
        yield
        RECORDER.rooms
      end
      #{script}
      puts JSON.generate(RESULT)
    RUBY
    JSON.parse(out)
  end

  it "resolves view objects to their records" do
    got = result(<<~RUBY)
      require "delegate"
      module Draper
        class Decorator
          attr_reader :object
          def initialize(object) = @object = object
          def to_model = self
          def to_param = object.to_param
          def id = object.id
          def kind_of?(klass) = super || object.kind_of?(klass)
          alias is_a? kind_of?
        end
      end
      class PostView < SimpleDelegator; def heading = title.upcase; end
      class TypedView < DelegateClass(Post); end
      class PostDecorator < Draper::Decorator; end
      class PostForm
        include ActiveModel::Model
        attr_accessor :post
        def to_model = post
        def to_param = "form"
      end
      post = Post.create!(title: "one")
      view = Object.new.extend(NoDevent::Helper)
      [PostView.new(post), PostView.new(PostView.new(post)), TypedView.new(post), PostDecorator.new(post),
       PostView.new(PostDecorator.new(post)), PostForm.new(post: post), SimpleDelegator.new(Post),
       SimpleDelegator.new("lobby")].each_with_index do |object, index|
        RESULT[index] = [NoDevent::Emitter.room(object), view.nodevent_data(object)[:nodevent_room],
                         emitted { NoDevent::Emitter.emit(object, "e", 1) }]
      end
      RESULT["delegated"] = emitted { PostView.new(post).emit("e", 1) }
    RUBY
    same = ->(room) { [room, room, [[room, "e"]]] }
    expect(got).to eq("0" => same.call("Post_1"), "1" => same.call("Post_1"), "2" => same.call("Post_1"),
                      "3" => same.call("Post_1"), "4" => same.call("Post_1"), "5" => same.call("Post_1"),
                      "6" => same.call("Post"), "7" => same.call("lobby"), "delegated" => [%w[Post_1 e]])
  end

  it "gives a record and its `becomes` one room, and lets single-table inheritance reach the pages of the base class" do
    got = result(<<~RUBY)
      class Vehicle < ActiveRecord::Base
        self.table_name = "posts"
        include NoDevent::Base
        emits_changes
      end
      class Car < Vehicle; end
      class SportsCar < Car; end
      class PostPresenter < Post; end
      RESULT["create"] = emitted { SportsCar.create!(title: "one") }
      RESULT["by hand"] = emitted { SportsCar.find(1).nodevent_create }
      car = Vehicle.find(1)
      up = car.becomes(Vehicle)
      RESULT["becomes"] = [up.room, NoDevent::Emitter.room(up), up.becomes(Car).room, emitted { up.update!(title: "two") }]
      post = Post.create!(title: "x")
      RESULT["presenter"] = [post.becomes(PostPresenter).room, post.becomes(PostPresenter).becomes(Post).room]
      changed = Car.create!(title: "y").becomes!(SportsCar)
      RESULT["becomes!"] = [changed.room, emitted { changed.save! }, emitted { SportsCar.find(changed.id).update!(title: "z") }]
    RUBY
    expect(got).to eq(
      "create" => [%w[SportsCar create], %w[Car create], %w[Vehicle create]],
      "by hand" => [%w[SportsCar create], %w[Car create], %w[Vehicle create]],
      "becomes" => ["SportsCar_1", "SportsCar_1", "SportsCar_1", [%w[SportsCar_1 update]]],
      "presenter" => %w[Post_2 Post_2],
      "becomes!" => ["SportsCar_3", [%w[Car_3 update], %w[SportsCar_3 update]], [%w[SportsCar_3 update]]]
    )
  end

  it "emits to the previous and the new room if the name changes" do
    got = result(<<~RUBY)
      class Slugged < Post; self.table_name = "posts"; def to_param = "\#{id}-\#{title.to_s.parameterize}"; end
      class Boarded < Post; self.table_name = "posts"; def room = "board-\#{board_id}"; end
      class Dated < Post; self.table_name = "posts"; def to_param = "\#{created_at.year}-\#{title}"; end
      class Friendly < Post; self.table_name = "posts"; def to_param = slug; end
      class ByHand < ActiveRecord::Base
        self.table_name = "posts"
        self.inheritance_column = nil
        include NoDevent::Base
        after_commit :nodevent_update, on: :update
        after_commit :nodevent_destroy, on: :destroy
        def to_param = "\#{id}-\#{title}"
      end
      post = Slugged.create!(title: "Old")
      RESULT["update"] = emitted { post.update!(title: "New") }
      RESULT["same"] = emitted { post.touch }
      RESULT["twice"] = emitted { Slugged.transaction { post.update!(title: "Two"); post.update!(title: "Three") } }
      emitted { Slugged.transaction { post.update!(title: "Never"); raise ActiveRecord::Rollback } }.then { |none| RESULT["rolled back"] = none }
      post.reload
      RESULT["after rollback"] = emitted { post.update!(title: "Four") }
      post.title = "unsaved"
      RESULT["destroy"] = emitted { post.destroy! }
      RESULT["override"] = emitted { Boarded.create!(board_id: 1).update!(board_id: 2) }.last(2)
      RESULT["timestamps"] = emitted { Dated.create!(title: "a", created_at: Time.utc(2020)).update!(title: "b") }.last(2)
      RESULT["nil"] = emitted { Friendly.create!.update!(slug: "nice") }.last(2)
      RESULT["by hand"] = emitted { ByHand.create!(title: "a").tap { |record| record.update!(title: "b") }.destroy! }
    RUBY
    expect(got).to eq(
      "update" => [%w[Slugged_1-old update], %w[Slugged_1-new update]], "same" => [%w[Slugged_1-new update]],
      "twice" => [%w[Slugged_1-new update], %w[Slugged_1-three update]], "rolled back" => [],
      "after rollback" => [%w[Slugged_1-three update], %w[Slugged_1-four update]],
      "destroy" => [%w[Slugged_1-four destroy], %w[Slugged_1-unsaved destroy]],
      "override" => [%w[board-1 update], %w[board-2 update]],
      "timestamps" => [%w[Dated_2020-a update], %w[Dated_2020-b update]],
      "nil" => [%w[Friendly_4 update], %w[Friendly_nice update]],
      "by hand" => [%w[ByHand_5-a update], %w[ByHand_5-b update], %w[ByHand_5-b destroy]]
    )
  end

  it "names rooms by something that never changes with nodevent_room_by" do
    got = result(<<~RUBY)
      class ById < Post; self.table_name = "posts"; def to_param = title; nodevent_room_by :id; end
      class Below < ById; self.table_name = "posts"; end
      class ByNames < Post; self.table_name = "posts"; nodevent_room_by :board_id, :id; end
      class ByBlock < Post; self.table_name = "posts"; nodevent_room_by { |post| "b\#{post.board_id}-\#{post.id}" }; end
      class Slugged < Post; self.table_name = "posts"; def to_param = title; end
      RESULT["id"] = [emitted { ById.create!(title: "a").update!(title: "b") }, Below.create!(title: "x").room]
      RESULT["names"] = ByNames.create!(board_id: 7).room
      RESULT["block"] = ByBlock.create!(board_id: 7).room
      NoDevent.room_by = :id
      RESULT["application"] = [Slugged.create!(title: "a").room, NoDevent::Emitter.room("text"), Post.room]
      NoDevent.room_by = nil
      RESULT["default"] = Slugged.last.room
      RESULT["unsaved"] = (ById.new.room rescue $!.class.name)
    RUBY
    expect(got).to eq("id" => [[%w[ById create], %w[Post create], %w[ById_1 update]], "Below_2"],
                      "names" => "ByNames_7_3", "block" => "ByBlock_b7-4", "application" => %w[Slugged_5 text Post],
                      "default" => "Slugged_a", "unsaved" => "NoDevent::InvalidRoomError")
  end

  it "names rooms by composite keys, UUIDs, and the id if to_param is nil" do
    got = result(<<~RUBY)
      class Token < ActiveRecord::Base; include NoDevent::Base; end
      Composite = Struct.new(:id) { include NoDevent::Base }
      Nil = Struct.new(:id) { def to_param = nil }
      Blank = Struct.new(:id) { def to_param = "" }
      uuid = "0c1c3fd6-7c24-4b6a-8a2e-0f3a9ad5e6d1"
      RESULT["uuid"] = Token.create!(id: uuid).room
      RESULT["composite"] = NoDevent::Emitter.room(Composite.new([3, 7]))
      # The `to_param` of Active Record 7.1 joins the parts of a composite key itself.
      class Token < ActiveRecord::Base
        def composite(*parts) = tap { singleton_class.define_method(:id) { parts } }
      end
      ActiveRecord::Integration.class_eval do
        own = instance_method(:to_param)
        define_method(:to_param) { id.is_a?(Array) ? id.join("_") : own.bind_call(self) }
      end
      RESULT["composite record"] = [Token.new.composite("a_b", "c").room, Token.new.composite("a", "b_c").room]
      RESULT["nil"] = NoDevent::Emitter.room(Nil.new(4))
      RESULT["blank"] = NoDevent::Emitter.room(Blank.new(5))
      RESULT["none"] = [Nil.new(nil), Composite.new([]), Struct.new(:id).new(1)].map do |object|
        NoDevent::Emitter.room(object)
      rescue NoDevent::InvalidRoomError
        "rejected"
      end
    RUBY
    expect(got).to eq("uuid" => "Token_0c1c3fd6-7c24-4b6a-8a2e-0f3a9ad5e6d1", "composite" => "Composite_3_7",
                      "composite record" => %w[Token_a%5Fb_c Token_a_b_c],
                      "nil" => "Nil_4", "blank" => "Blank_5", "none" => %w[rejected rejected rejected])
  end

  # The name has no database in it, as of old; an application with several writes a block.
  it "separates records with the same id in two databases with a block" do
    out = rails(<<~RUBY)
      class Tenant < ActiveRecord::Base; self.abstract_class = true; end
      class First < Tenant; self.abstract_class = true; establish_connection("sqlite3::memory:"); end
      class Second < Tenant; self.abstract_class = true; establish_connection("sqlite3::memory:"); end
      module Blog
        def self.included(base)
          base.connection.create_table(:articles) { |t| t.string :title }
          base.table_name = "articles"
          base.include NoDevent::Base
          base.define_singleton_method(:name) { "Article" }
        end
      end
      one, two = [First, Second].map { |parent| Class.new(parent) { include Blog } }
      shared = [one, two].map { |klass| klass.create!.room }
      [one, two].each_with_index { |klass, index| klass.nodevent_room_by { |article| "db\#{index}-\#{article.id}" } }
      p shared, [one, two].map { |klass| klass.first.room }
    RUBY
    expect(out).to eq(%(["Article_1", "Article_1"]\n["Article_db0-1", "Article_db1-1"]\n))
  end
end
