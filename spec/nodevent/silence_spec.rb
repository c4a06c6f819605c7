# frozen_string_literal: true

# Issue 11, section E: silence and transactions.
#
# Cases: loud then silent and silent then loud in one transaction, nested silence, silence around and inside a
# transaction, savepoints that are released and rolled back with either kind of change in them, several declarations of
# `emits_changes`, touch and destroy, the change after a silenced one, and silence that ends with an exception.
RSpec.describe "NoDevent.silence and transactions" do
  include RailsApp

  def result(script)
    out = rails(<<~RUBY)
      class SomeModel < ActiveRecord::Base
        include NoDevent::Base
        emits_changes
      end
      class Twice < ActiveRecord::Base
        self.table_name = "some_models"
        include NoDevent::Base
        emits_changes room: "one", on: :update
        emits_changes room: "two", on: :update
      end
      RESULT = {}
      MODEL = NoDevent.silence { SomeModel.create!(title: "t") }
      def transaction(**options, &block) = SomeModel.transaction(**options, &block)
      def silence(&block) = NoDevent.silence(&block)
      def change = MODEL.update!(title: rand.to_s)
      def rollback = raise(ActiveRecord::Rollback)
      # The events that the block emits.
      def emitted(name)
        RECORDER.published.clear
        yield
        RESULT[name] = RECORDER.rooms.map(&:last)
      end
      #{script}
      puts JSON.generate(RESULT)
    RUBY
    JSON.parse(out)
  end

  it "emits once if any change that was committed is not silenced" do
    got = result(<<~RUBY)
      emitted("loud then silent") { transaction { change; silence { change } } }
      emitted("silent then loud") { transaction { silence { change }; change } }
      emitted("silent only") { transaction { silence { change }; silence { change } } }
      emitted("around") { silence { transaction { change } } }
      emitted("loud between") { transaction { silence { change }; change; silence { change } } }
      emitted("afterwards") { change }
      emitted("touch") { transaction { silence { change }; MODEL.touch } }
      emitted("create then silent") { transaction { model = SomeModel.create!; silence { model.update!(title: "x") } } }
      emitted("silent create, loud update") { transaction { model = silence { SomeModel.create! }; model.update!(title: "x") } }
      emitted("update then silent destroy") { model = SomeModel.create!; RECORDER.published.clear; transaction { model.update!(title: "x"); silence { model.destroy! } } }
      emitted("silent destroy") { model = silence { SomeModel.create! }; silence { model.destroy! } }
    RUBY
    expect(got).to eq("loud then silent" => ["update"], "silent then loud" => ["update"], "silent only" => [],
                      "around" => [], "loud between" => ["update"], "afterwards" => ["update"], "touch" => ["update"],
                      "create then silent" => ["create"], "silent create, loud update" => ["create"],
                      "update then silent destroy" => ["destroy"], "silent destroy" => [])
  end

  it "follows nested silence, and ends it after an exception" do
    got = result(<<~RUBY)
      emitted("nested") { silence { silence { change }; change } }
      emitted("after nested") { silence { silence { change } }; change }
      emitted("exception") { (silence { raise IOError }) rescue change }
      emitted("thread") { silence { Thread.new { NoDevent::Emitter.emit("r", "other", 1) }.join; change } }
      emitted("fiber") { silence { Fiber.new { NoDevent::Emitter.emit("r", "fiber", 1) }.resume } }
    RUBY
    expect(got).to eq("nested" => [], "after nested" => ["update"], "exception" => ["update"], "thread" => ["other"],
                      "fiber" => ["fiber"])
  end

  it "ignores changes in savepoints that were rolled back" do
    got = result(<<~RUBY)
      emitted("loud inner rolled back") { transaction { silence { change }; transaction(requires_new: true) { change; rollback } } }
      emitted("silent inner rolled back") { transaction { change; transaction(requires_new: true) { silence { change }; rollback } } }
      emitted("loud inner released") { transaction { silence { change }; transaction(requires_new: true) { change } } }
      emitted("silent inner released") { transaction { change; transaction(requires_new: true) { silence { change } } } }
      emitted("released, then rolled back with its parent") do
        transaction do
          silence { change }
          transaction(requires_new: true) { transaction(requires_new: true) { change }; rollback }
        end
      end
      emitted("only the inner, rolled back") { transaction { transaction(requires_new: true) { change; rollback } } }
      emitted("outer rolled back") { transaction { change; rollback } }
      emitted("after a rollback") { transaction { change; rollback }; silence { change } }
      emitted("after a silent rollback") { transaction { silence { change }; rollback }; change }
    RUBY
    expect(got).to eq("loud inner rolled back" => [], "silent inner rolled back" => ["update"],
                      "loud inner released" => ["update"], "silent inner released" => ["update"],
                      "released, then rolled back with its parent" => [], "only the inner, rolled back" => [],
                      "outer rolled back" => [], "after a rollback" => [], "after a silent rollback" => ["update"])
  end

  it "applies to every declaration of emits_changes" do
    got = result(<<~RUBY)
      model = Twice.create!
      emitted("silent") { silence { model.update!(title: "a") } }
      emitted("loud") { model.update!(title: "b") }
      emitted("both") { Twice.transaction { model.update!(title: "c"); silence { model.update!(title: "d") } } }
    RUBY
    expect(got).to eq("silent" => [], "loud" => %w[update update], "both" => %w[update update])
  end
end
