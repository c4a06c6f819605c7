# frozen_string_literal: true

# Cases: commit, rollback, savepoints, nested transactions, two databases, no transaction, fixtures' transactions, the
# setting, its exceptions, several events in order, a publisher that fails, older versions of Rails (by the fallback).
RSpec.describe NoDevent::AfterCommit do
  include RailsApp

  # Two databases, and what was emitted after each step.
  def steps(script, settings: "")
    rails(<<~RUBY, settings: settings)
      class OtherBase < ActiveRecord::Base
        self.abstract_class = true
        establish_connection(adapter: "sqlite3", database: ":memory:")
      end
      class SomeModel < ActiveRecord::Base; end
      class OtherModel < OtherBase; end
      OtherBase.connection.create_table(:other_models) { |t| t.string :title }
      # The technique for versions before 7.2, with any version.
      ActiveRecord.singleton_class.undef_method(:after_all_transactions_commit) if ENV["FALLBACK"] &&
        ActiveRecord.respond_to?(:after_all_transactions_commit)
      def emit(event, message = nil, **options) = NoDevent::Emitter.emit("r", event, message, after_commit: true, **options)
      def seen = RECORDER.published.map { |_, publication| publication["event"] }.tap { RECORDER.published.clear }
      #{script}
    RUBY
  end

  let(:script) do
    <<~'RUBY'
      p [:outside, emit("now"), seen]
      SomeModel.transaction { p [:inside, emit("a"), emit("b"), seen] }
      p [:committed, seen]
      SomeModel.transaction { emit("rolled back"); raise ActiveRecord::Rollback }
      begin
        SomeModel.transaction { emit("raised"); raise IOError }
      rescue IOError
        p [:rolled_back, seen]
      end
      SomeModel.transaction do
        emit("outer")
        SomeModel.transaction(requires_new: true) { emit("kept savepoint"); SomeModel.create! }
        SomeModel.transaction(requires_new: true) { emit("lost savepoint"); raise ActiveRecord::Rollback }
        SomeModel.transaction { emit("joined") }
        p [:nested, seen]
      end
      p [:nested_committed, seen]
      SomeModel.transaction do
        OtherModel.transaction { OtherModel.create!(title: "x"); emit("both") }
        p [:one_of_two, seen]
      end
      p [:two, seen]
      SomeModel.transaction do
        OtherModel.transaction { emit("one fails"); raise ActiveRecord::Rollback }
      end
      p [:one_rolled_back, seen]
      connection = SomeModel.connection
      connection.begin_transaction(joinable: false)
      p [:fixtures, emit("at once"), seen]
      SomeModel.transaction { emit("in a test"); p [:test, seen] }
      p [:test_committed, seen]
      connection.rollback_transaction
      message = { "n" => 1 }
      SomeModel.transaction { emit("as it was", message); message["n"] = 2 }
      p [:message, RECORDER.published.map { |_, publication| publication["message"] }]
      seen
      SomeModel.transaction { emit("from an insert"); SomeModel.create!(title: "t") }
      p [:insert, seen]
    RUBY
  end

  let(:expected) do
    [[:outside, 1, ["now"]], [:inside, :after_commit, :after_commit, []], [:committed, %w[a b]], [:rolled_back, []],
     [:nested, []], [:nested_committed, ["outer", "kept savepoint", "joined"]], [:one_of_two, []], [:two, ["both"]],
     [:one_rolled_back, []], [:fixtures, 1, ["at once"]], [:test, []], [:test_committed, ["in a test"]],
     [:message, [{ "n" => 1 }]], [:insert, ["from an insert"]]].map { |step| "#{step.inspect}\n" }.join
  end

  it "emits after the commit of all open transactions, and never after a rollback" do
    expect(steps(script)).to eq(expected)
  end

  it "does so before Rails 7.2 too" do
    expect(steps("ENV['FALLBACK'] or abort\n#{script}", settings: "ENV['FALLBACK'] = '1'")).to eq(expected)
  end

  it "is a setting, which `wait: true` and `after_commit: false` except, and reports failures after the commit" do
    out = steps(<<~'RUBY', settings: "config.nodevent.after_commit = true")
      def plain(...) = NoDevent::Emitter.emit(...)
      class SomeModel
        include NoDevent::Base
        emits_changes message: ->(model) { model.id }
      end
      SomeModel.transaction do
        p [plain("r", "waits"), plain("r", "at once", 1, after_commit: false), plain("r", "confirmed", 1, wait: true)]
        p [NoDevent::Emitter.to(users: 1).emit("to a user"), SomeModel.emit("to a class"), seen]
      end
      p seen
      SomeModel.create!
      p seen
      errors = []
      NoDevent.on_error { |error| errors << error.message }
      $redis = Object.new.tap { |publisher| publisher.define_singleton_method(:publish) { |*| nonsense } }
      p SomeModel.transaction { plain("r", "fails"); SomeModel.connection.execute("DELETE FROM some_models"); :committed }
      p errors.first[/\A.*NameError/], SomeModel.count
      begin
        plain("r", "e", 1, wait: true, after_commit: true)
      rescue ArgumentError => e
        p e.message
      end
      NoDevent.after_commit = false
      p NoDevent.after_commit
    RUBY
    expect(out).to eq(<<~TEXT)
      [:after_commit, 1, 1]
      [:after_commit, :after_commit, ["at once", "confirmed"]]
      ["waits", "to a user", "to a class"]
      ["create"]
      :committed
      "\\"fails\\" to \\"r\\" was not emitted after the commit: NameError"
      0
      "pass either wait: true or after_commit: true"
      false
    TEXT
  end

  it "emits at once without Active Record" do
    NoDevent::Emitter.publisher = recorder = Recorder.new
    expect(NoDevent::Emitter.emit("r", "e", 1, after_commit: true)).to eq(1)
    expect(recorder.last).to include("event" => "e", "message" => 1)
  end
end
