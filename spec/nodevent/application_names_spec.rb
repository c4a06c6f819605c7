# frozen_string_literal: true

# Issue 11, section A: the application's own names win.
#
# Cases: `room` as a column, belongs_to, has_one, has_many, enum value, enum attribute, store accessor, alias_attribute,
# attribute API, delegate, scope, method before and after `include`, include in ApplicationRecord, a record in a named
# and a nameless module; the same for `emit`, `room_key` and `room_json`; columns that have the name of a Ruby method.
RSpec.describe "NoDevent::Base and the application's own names" do
  include RailsApp

  # Runs the script with these tables and returns what it collects in RESULT.
  def result(tables, script)
    out = rails(<<~RUBY)
      ActiveRecord::Schema.define { #{tables} }
      RESULT = {}
      NoDevent::Emitter.config = { secret: "a-long-secret-for-these-specs" }
      #{script}
      puts JSON.generate(RESULT)
    RUBY
    JSON.parse(out)
  end

  let(:probe) do
    <<~'RUBY'
      class Place < ActiveRecord::Base; end
      # What the application and the gem see of a record.
      def probe(name, record)
        RECORDER.published.clear
        record.emit("e", 1)
        view = Object.new.extend(NoDevent::Helper)
        room = record.room
        RESULT[name] = [room.respond_to?(:id) ? "#{room.class}:#{room.id}" : room.as_json, record.nodevent_room,
                        RECORDER.rooms, NoDevent::Emitter.room(record), view.nodevent_data(record)[:nodevent_room],
                        record.room_key(Time.at(4_102_444_800)) == NoDevent::Emitter.room_key(record, 4_102_444_800)]
      end
    RUBY
  end

  # What `probe` collects if the room is this and `record.room` returns that.
  def seen(own, room)
    [own, room, [[room, "e"]], room, room, true]
  end

  it "leaves generated readers of `room` to the application, in either order" do
    got = result(<<~TABLES, <<~RUBY)
      create_table(:places) { |t| t.string :title }
      create_table(:messages) { |t| t.integer :room_id; t.string :room_text; t.string :settings; t.string :room }
    TABLES
      #{probe}
      Place.create!(title: "Hall")
      class Plain < ActiveRecord::Base; self.table_name = "messages"; end
      class IncludeFirst < Plain; self.table_name = "messages"; include NoDevent::Base; belongs_to :room, class_name: "Place"; end
      class IncludeLast < Plain; self.table_name = "messages"; belongs_to :room, class_name: "Place"; include NoDevent::Base; end
      class Column < ActiveRecord::Base; self.table_name = "messages"; include NoDevent::Base; end
      class Parent < ActiveRecord::Base; self.abstract_class = true; include NoDevent::Base; end
      class ColumnBelowParent < Parent; self.table_name = "messages"; end
      class EnumAttribute < ActiveRecord::Base; self.table_name = "messages"; include NoDevent::Base; Rails.version < "7" ? enum(room: { small: "s", big: "b" }) : enum(:room, { small: "s", big: "b" }); end
      class HasOne < ActiveRecord::Base; self.table_name = "messages"; include NoDevent::Base; has_one :room, class_name: "Place", foreign_key: :id; end
      class HasMany < ActiveRecord::Base; self.table_name = "messages"; include NoDevent::Base; has_many :room, class_name: "Place", foreign_key: :id; end
      [IncludeFirst, IncludeLast].each { |klass| probe(klass.name, klass.create!(room_id: 1)) }
      probe("Column", Column.create!(room: "text"))
      probe("ColumnBelowParent", ColumnBelowParent.create!(room: "text"))
      probe("EnumAttribute", EnumAttribute.create!(room: "big"))
      probe("HasOne", HasOne.find(1))
      RESULT["HasMany"] = [HasMany.find(1).room.map(&:title), HasMany.find(1).nodevent_room]
      RESULT["as_json"] = [Column.find(3).as_json["room"], ColumnBelowParent.find(4).as_json["room"]]
      record = Column.find(3)
      record.update!(room: "other")
      RESULT["write"] = [record.room, record.reload.room, record.room_changed?]
    RUBY
    expect(got).to eq(
      "IncludeFirst" => seen("Place:1", "IncludeFirst_1"), "IncludeLast" => seen("Place:1", "IncludeLast_2"),
      "Column" => seen("text", "Column_3"), "ColumnBelowParent" => seen("text", "ColumnBelowParent_4"),
      "EnumAttribute" => seen("big", "EnumAttribute_5"), "HasOne" => seen("Place:1", "HasOne_1"),
      "HasMany" => [["Hall"], "HasMany_1"], "as_json" => %w[text text], "write" => ["other", "other", false]
    )
  end

  it "leaves `room` of stores, aliases, attributes, delegates, scopes and enum values to the application" do
    got = result(<<~TABLES, <<~RUBY)
      create_table(:places) { |t| t.string :title }
      create_table(:messages) { |t| t.integer :place_id; t.string :title; t.string :kind; t.text :settings }
    TABLES
      #{probe}
      Place.create!(title: "Hall")
      class Place < ActiveRecord::Base; def room = self; end
      class Model < ActiveRecord::Base; self.abstract_class = true; self.table_name = "messages"; end
      class Stored < Model; self.table_name = "messages"; include NoDevent::Base; store :settings, accessors: [:room], coder: JSON; end
      class Aliased < Model; self.table_name = "messages"; include NoDevent::Base; alias_attribute :room, :title; end
      class Virtual < Model; self.table_name = "messages"; include NoDevent::Base; attribute :room, :string; end
      class Delegating < Model; self.table_name = "messages"; include NoDevent::Base; belongs_to :place; delegate :room, to: :place; end
      class Scoped < Model; self.table_name = "messages"; include NoDevent::Base; scope :room, -> { where(kind: "room") }; end
      class EnumValue < Model; self.table_name = "messages"; include NoDevent::Base; Rails.version < "7" ? enum(kind: { room: "r", emit: "e" }) : enum(:kind, { room: "r", emit: "e" }); end
      probe("Stored", Stored.create!(room: "text"))
      probe("Aliased", Aliased.create!(title: "text"))
      probe("Virtual", Virtual.create!(room: "text"))
      probe("Delegating", Delegating.create!(place_id: 1))
      RESULT["Scoped"] = [Scoped.room.to_a, NoDevent::Emitter.room(Scoped), Scoped.nodevent_room, Scoped.create!.room]
      value = EnumValue.create!(kind: :room)
      RESULT["EnumValue"] = [value.room?, EnumValue.room.count, EnumValue.emit.count, NoDevent::Emitter.room(EnumValue),
                             value.room, value.emit?]
    RUBY
    expect(got).to eq(
      "Stored" => seen("text", "Stored_1"), "Aliased" => seen("text", "Aliased_2"), "Virtual" => seen("text", "Virtual_3"),
      "Delegating" => seen("Place:1", "Delegating_4"), "Scoped" => [[], "Scoped", "Scoped", "Scoped_5"],
      "EnumValue" => [true, 1, 0, "EnumValue", "EnumValue_6", false]
    )
  end

  it "N-97 keeps handwritten methods that return a String or Symbol as overrides, wherever they are defined" do
    got = result(<<~TABLES, <<~RUBY)
      create_table(:messages) { |t| t.string :title; t.string :room }
      create_table(:plain) { |t| t.string :title }
    TABLES
      #{probe}
      module Naming; def room = "named-\#{id}"; end
      class Model < ActiveRecord::Base; self.abstract_class = true; end
      class Before < Model; self.table_name = "messages"; def room = "before-\#{id}"; include NoDevent::Base; end
      class After < Model; self.table_name = "messages"; include NoDevent::Base; def room = :"after-\#{id}"; end
      class Concern < Model; self.table_name = "plain"; include Naming; include NoDevent::Base; end
      class Super < Model; self.table_name = "plain"; include NoDevent::Base; def room = "\#{super}-x"; end
      class Certain < Model; self.table_name = "messages"; include NoDevent::Base; def nodevent_room = "certain-\#{id}"; end
      class CertainSuper < Model; self.table_name = "messages"; include NoDevent::Base; def nodevent_room = "\#{super}-y"; end
      class WithArguments < Model; self.table_name = "messages"; include NoDevent::Base; def room(format) = "f-\#{format}"; end
      [Before, After, Concern].each { |klass| probe(klass.name, klass.create!) }
      RESULT["Super"] = [Super.create!.room, NoDevent::Emitter.room(Super.find(2))]
      RESULT["Certain"] = [Certain.create!(room: "column").room, NoDevent::Emitter.room(Certain.find(3))]
      RESULT["CertainSuper"] = [NoDevent::Emitter.room(CertainSuper.create!), CertainSuper.find(4).nodevent_room]
      RESULT["WithArguments"] = [WithArguments.create!.room("x"), NoDevent::Emitter.room(WithArguments.find(5))]
    RUBY
    expect(got).to eq(
      "Before" => seen("before-1", "before-1"), "After" => seen("after-2", "after-2"),
      "Concern" => seen("named-1", "named-1"), "Super" => %w[Super_2-x Super_2-x],
      "Certain" => %w[column certain-3], "CertainSuper" => %w[CertainSuper_4-y CertainSuper_4-y],
      "WithArguments" => %w[f-x WithArguments_5]
    )
  end

  it "leaves emit, room_key and room_json to the application, with a warning and names that always work" do
    got = result(<<~TABLES, <<~RUBY)
      create_table(:orders) { |t| t.string :title }
      create_table(:columns) { |t| t.string :emit }
    TABLES
      module StateMachine; def emit(event) = "state \#{event}"; def room_key = "own key"; end
      class Order < ActiveRecord::Base; include StateMachine; include NoDevent::Base; end
      class Later < ActiveRecord::Base; self.table_name = "orders"; include NoDevent::Base; include StateMachine; end
      class Column < ActiveRecord::Base; include NoDevent::Base; end
      class Json < ActiveRecord::Base; self.table_name = "orders"; def room_json = "own json"; include NoDevent::Base; emits_changes; end
      [Order, Later].each do |klass|
        order = klass.create!
        order.nodevent_emit("paid", total: 1)
        order.nodevent_update
        RESULT[klass.name] = [order.emit("x"), order.room_key, order.nodevent_room_json[:room], RECORDER.rooms]
        RECORDER.published.clear
      end
      RESULT["Column"] = [Column.create!(emit: "text").emit, Column.last.as_json["emit"], Column.last.nodevent_emit("e", 1)]
      RECORDER.published.clear
      RESULT["Json"] = [Json.create!.room_json, RECORDER.rooms]
    RUBY
    own = lambda { |name, id|
      ["state x", "own key", "#{name}_#{id}", [["#{name}_#{id}", "paid"], ["#{name}_#{id}", "update"]]]
    }
    expect(got).to eq("Order" => own.call("Order", 1), "Later" => own.call("Later", 2), "Column" => ["text", "text", 1],
                      "Json" => ["own json", [%w[Json create]]])
    expect(@rails_log).to include("nodevent: Order has its own emit, room_key, which NoDevent::Base does not replace; " \
                                  "call nodevent_emit, nodevent_room_key instead")
    expect(@rails_log).to include("nodevent: Json has its own room_json")
  end

  # Active Record itself cannot handle a column `class`, and rejects `hash`.
  it "calls no method on a record that a column may have redefined" do
    columns = %w[method methods object_id public_send send instance_variable_get instance_variable_set name type hash
                 class instance_exec tap then display itself singleton_class]
    got = columns.to_h do |column|
      out = rails(<<~RUBY)
        ActiveRecord::Schema.define { create_table(:odd_models) { |t| t.string "#{column}"; t.string :title } }
        class OddModel < ActiveRecord::Base
          self.inheritance_column = nil
          include NoDevent::Base
          emits_changes
        end
        class Without < ActiveRecord::Base
          self.table_name = "odd_models"
          self.inheritance_column = nil
          before_save { $callbacks = true }
          after_commit(on: :update) { nil }
        end
        begin
          Without.create!(title: "one").then { |without| without.update!(title: "two") && without.destroy! }
          $callbacks or raise "no callbacks"
        rescue StandardError
          print "not possible in Active Record"
          exit
        end
        record = OddModel.create!(title: "one")
        record.update!(title: "two")
        record.emit("e", 1)
        record.room_key(4_102_444_800)
        record.destroy!
        print RECORDER.rooms.map(&:last).join(" ")
      RUBY

      [column, out]
    end
    expect(got.values.uniq).to contain_exactly("create update e destroy").or contain_exactly(
      "create update e destroy", "not possible in Active Record"
    )
    expect(got).to include("method" => "create update e destroy", "name" => "create update e destroy",
                           "type" => "create update e destroy", "instance_variable_get" => "create update e destroy")
  end
end
