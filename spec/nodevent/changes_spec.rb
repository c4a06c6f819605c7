# frozen_string_literal: true

RSpec.describe NoDevent::Changes do
  include RailsApp

  def model(macro, script)
    rails(<<~RUBY + script)
      class SomeModel < ActiveRecord::Base
        include NoDevent::Base
        #{macro}
      end
      def transaction(&block) = SomeModel.transaction(&block)
    RUBY
  end

  it "emits create to the class, and update and destroy to the record, after the commit" do
    out = model("emits_changes", <<~RUBY)
      transaction do
        model = SomeModel.create!(title: "one")
        p RECORDER.rooms
      end
      SomeModel.first.update!(title: "two")
      SomeModel.first.destroy!
      p RECORDER.rooms, RECORDER.published.last.last["message"]["title"]
    RUBY
    expect(out).to eq(<<~TEXT)
      []
      [["SomeModel", "create"], ["SomeModel_1", "update"], ["SomeModel_1", "destroy"]]
      "two"
    TEXT
  end

  it "emits nothing that is rolled back" do
    out = model("emits_changes", <<~RUBY)
      transaction { SomeModel.create!; raise ActiveRecord::Rollback }
      p RECORDER.rooms
    RUBY
    expect(out).to eq("[]\n")
  end

  it "follows on:, room: and message:" do
    out = model(<<~'MACRO', <<~RUBY)
      emits_changes room: :board, on: %i[create destroy], message: ->(model) { { "was" => model.title } }
      emits_changes room: ->(model) { [model, "all"] }, on: :update, message: :title
      def board = "board-#{title}"
    MACRO
      model = SomeModel.create!(title: "one")
      model.update!(title: "two")
      model.destroy!
      RECORDER.published.each { |_, publication| puts publication.values.to_json }
    RUBY
    expect(out).to eq(<<~TEXT)
      ["board-one","create",{"was":"one"}]
      ["SomeModel_1","update","two"]
      ["all","update","two"]
      ["board-two","destroy",{"was":"two"}]
    TEXT
  end

  it "emits no changes made in NoDevent.silence, even if the commit is later" do
    out = model("emits_changes", <<~RUBY)
      model = NoDevent.silence { SomeModel.create!(title: "quiet") }
      transaction do
        NoDevent.silence { model.update!(title: "still quiet") }
      end
      p RECORDER.rooms
      model.update!(title: "loud")
      model.touch
      p RECORDER.rooms, NoDevent.silence { NoDevent::Emitter.emit("r", "e", 1) }
    RUBY
    expect(out).to eq(%([]\n[["SomeModel_1", "update"], ["SomeModel_1", "update"]]\nnil\n))
  end

  it "works with callbacks written by hand, without emits_changes" do
    out = model("after_commit :nodevent_destroy, on: :destroy", <<~RUBY)
      SomeModel.create!.destroy!
      p RECORDER.rooms
    RUBY
    expect(out).to eq(%([["SomeModel_1", "destroy"]]\n))
  end

  it "reports an invalid on:, and what it requires" do
    expect { Doc.emits_changes(on: :save) }.to raise_error(ArgumentError, "on: contains :save; write one or more of " \
                                                                          "[:create, :update, :destroy]")
    expect { Doc.emits_changes }.to raise_error(ArgumentError, "emits_changes requires Active Record's after_commit")
  end
end

RSpec.describe NoDevent::Silence do
  let(:recorder) { Recorder.new }

  before { NoDevent::Emitter.publisher = recorder }

  it "ends with its block, even after an exception, and can be nested" do
    NoDevent.silence do
      NoDevent.silence { NoDevent::Emitter.emit("r", "inner", 1) }
      NoDevent::Emitter.emit("r", "outer", 1)
    end
    expect { NoDevent.silence { raise IOError } }.to raise_error(IOError)
    NoDevent::Emitter.emit("r", "after", 1)
    expect(recorder.published.size).to eq(1)
  end

  it "affects only the current thread" do
    NoDevent.silence do
      Thread.new { NoDevent::Emitter.emit("r", "other", 1) }.join
      NoDevent::Emitter.emit("r", "mine", 1)
    end
    expect(recorder.published.map { |_, json| JSON.parse(json)["event"] }).to eq(["other"])
  end
end
