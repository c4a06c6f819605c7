# frozen_string_literal: true

# Cases: names by id, to_param and nodevent_room_by; inheritance; overrides in the class, above and beneath it, and in one
# object; each of these also after the class has emitted; records without a name; views; names that are not plain; the same
# for `emit` and `nodevent_emit`; Active Record with slugs, UUIDs, composite keys, single-table inheritance and `becomes`.
RSpec.describe "The fast path of records" do
  include RailsApp

  # Emits with each method to the room of a record and compares it with the one that reflection finds.
  TOOLS = <<~'RUBY'
    require "redis"
    require "timeout"
    GOT = Queue.new
    ready = Queue.new
    Thread.new do
      Redis.new(url: ENV.fetch("REDIS")).subscribe("/records") do |on|
        on.subscribe { ready << true }
        on.message { |_, text| GOT << JSON.parse(text).fetch("room") }
      end
    end
    ready.pop
    $redis = nil
    NoDevent::Emitter.config = { namespace: "/records", history: "off", redis: { url: ENV.fetch("REDIS") } }
    # The records whose rooms were found by reflection.
    REFLECTED = []
    NoDevent::Room.singleton_class.prepend(Module.new { def of(object) = (REFLECTED << object) && super })
    REPORT = { "fast" => [], "ruby" => [], "wrong" => [] }
    def outcome
      yield
    rescue StandardError => e
      "#{e.class}: #{e.message}"
    end
    def received = Timeout.timeout(20) { GOT.pop }
    def compare(name, record)
      wanted = outcome { NoDevent::Room.of(record) }
      REFLECTED.clear
      got = [
        outcome { NoDevent::Emitter.emit(record, "e", 1) && received },
        outcome { record.nodevent_emit("e", 1) && received },
        outcome { NoDevent::Emitter.emit(record, "e", 1) && received }
      ]
      REPORT["wrong"] << [name, got, wanted] if got.uniq != [wanted]
      REPORT[REFLECTED.empty? ? "fast" : "ruby"] << name
    end
    # Starts the fast path.
    2.times { NoDevent::Emitter.emit("warm", "e", 1) && received }
    NoDevent::Namespace.default.emit("warm", "e", 1) && received
    REFLECTED.clear
    def done = puts(JSON.generate(REPORT))
  RUBY

  let(:env) { { "REDIS" => "redis://127.0.0.1:#{RedisServer.shared.port}" } }

  def report(script)
    JSON.parse(ruby("require 'nodevent'\n#{TOOLS}\n#{DEFINE}\n#{script}\ndone", env: env))
  end

  DEFINE = <<~'RUBY'
    require "delegate"
    def record_class(name, parent = nil, &body)
      klass = parent ? Class.new(parent) : Struct.new(:id, :slug)
      Object.const_set(name, klass)
      klass.include(NoDevent::Base) unless parent
      klass.class_eval(&body) if body
      klass
    end
  RUBY

  it "names the rooms that it knows as Ruby does, and leaves the others to Ruby" do
    got = report(<<~'RUBY')
      fast = {
        "id" => record_class(:ById).new(12), "negative" => ById.new(-3), "text" => ById.new("a b"),
        "to_param" => record_class(:ByParam) { def to_param = slug }.new(1, "hello-1"),
        "inherited" => record_class(:Sub, ByParam).new(1, "x"),
        "by" => record_class(:ByRule) { nodevent_room_by :slug }.new(1, "s"), "by inherited" => record_class(:SubRule, ByRule).new(1, "t"),
        "by number" => record_class(:ByNumber) { nodevent_room_by :id }.new(7, "s"),
        "own name" => Class.new(ById) { def self.name = "Other" }.new(5)
      }
      fast.each { |name, record| compare(name, record) }
      module Roomy; def room = "roomy-#{id}"; end
      module Named; def nodevent_room = :named; end
      parent = Struct.new(:id) { def room = "parent-#{id}" }
      beneath = Class.new(parent) { include NoDevent::Base }
      Object.const_set(:Beneath, beneath)
      attributes = Struct.new(:id) { include Roomy; include NoDevent::Base }
      Object.const_set(:WithModule, attributes)
      ruby = {
        "room" => record_class(:OwnRoom) { def room = "own-#{id}" }.new(1),
        "super" => record_class(:SuperRoom) { def room = "x-#{super}" }.new(1),
        "any arguments" => record_class(:AnyRoom) { def room(*) = "any-#{id}" }.new(1),
        "not a name" => record_class(:NoName) { def room = 5 }.new(1),
        "nodevent_room" => record_class(:OwnNodevent) { def nodevent_room = "n-#{id}" }.new(1),
        "module" => record_class(:Mixed) { include Roomy }.new(1),
        "prepended" => record_class(:Prepended) { prepend Named }.new(1),
        "inherited override" => record_class(:SubRoom, OwnRoom).new(2),
        "parent" => Beneath.new(1), "module beneath" => WithModule.new(1),
        "singleton" => ById.new(1).tap { |record| def record.room = "single" },
        "extended" => ById.new(1).extend(Module.new), "block" => record_class(:ByBlock) { nodevent_room_by { |one| "b#{one.id}" } }.new(1),
        "names" => record_class(:ByNames) { nodevent_room_by :slug, :id }.new(1, "a_b"),
        "missing" => record_class(:ByMissing) { nodevent_room_by :unknown }.new(3),
        "nil" => ById.new, "empty" => ById.new(""), "nil to_param" => ByParam.new(4), "empty to_param" => ByParam.new(4, ""),
        "symbol" => ById.new(:slug), "list" => ById.new([1, 2]), "big" => ById.new(2**80),
        "quoted" => ById.new("<b>"), "space" => ById.new(" 1"), "umlaut" => ById.new("ü"), "invalid" => ById.new("\xff"),
        "latin" => ById.new("\u00fc".encode("ISO-8859-1")), "utf-16" => ById.new("a".encode("UTF-16LE")),
        "long" => ById.new("x" * 251), "anonymous" => Struct.new(:id) { include NoDevent::Base }.new(1),
        "view" => Class.new(SimpleDelegator) { include NoDevent::Base; def self.name = "View" }.new(ById.new(1)),
        "fits" => ById.new("x" * 250),
        "error" => record_class(:Failing) { def to_param = raise(IOError, "no") }.new(1),
        "private" => record_class(:Hidden) { private def to_param = "hidden" }.new(1),
        "other class" => ById.new(1).tap { |record| record.instance_variable_set(:@nodevent_class, ByParam) },
        "respond_to_missing?" => record_class(:Missing) {
          def respond_to_missing?(name, all = false) = name == :to_param || super
          def method_missing(name, *) = name == :to_param ? "missing" : super
        }.new(1)
      }
      ruby.each { |name, record| compare(name, record) }
      NoDevent.room_by = :slug
      compare("application", ById.new(1, "of-all"))
    RUBY
    expect(got["wrong"]).to eq([])
    expect(got["fast"]).to eq(["id", "negative", "text", "to_param", "inherited", "by", "by inherited", "by number", "own name",
                               "fits", "error", "private", "application"])
  end

  it "follows a class that changes after it has emitted" do
    got = report(<<~'RUBY')
      module Late; end
      changes = {
        "room" => ->(klass) { klass.class_eval { def room = "late-#{id}" } },
        "room with arguments" => ->(klass) { klass.class_eval { def room(*) = "late-#{id}" } },
        "room that rejects arguments" => ->(klass) { klass.class_eval { def room(*all) = all.empty? ? "late" : raise(ArgumentError) } },
        "room that returns its argument" => ->(klass) { klass.class_eval { def room(name = "late-#{id}") = name } },
        "room that uses its argument" => ->(klass) { klass.class_eval { def room(options = {}) = "late-#{options[:x]}" } },
        "room and super" => ->(klass) { klass.class_eval { def room(*) = "late-#{super}" } },
        "nodevent_room" => ->(klass) { klass.class_eval { def nodevent_room = "late" } },
        "include" => ->(klass) { klass.include(Module.new { def self.name = "Named"; def room = "late" }) },
        "prepend" => ->(klass) { klass.prepend(Module.new { def self.name = "Named"; def room = "late" }) },
        "parent" => ->(klass) { klass.superclass.class_eval { def room = "beneath" } },
        "nodevent_room of the parent" => ->(klass) { klass.superclass.class_eval { def nodevent_room = "beneath" } },
        "module of the parent" => ->(klass) { klass.superclass.include(Module.new { def self.name = "Named"; def room = "late" }) },
        "module beneath" => ->(klass) { klass::BENEATH.module_eval { def room = "beneath" } },
        "private module beneath" => ->(klass) { klass::BENEATH.module_eval { private def nodevent_room = "beneath" } },
        "module in the module beneath" => ->(klass) {
          klass::BENEATH.include(Module.new { def self.name = "Named"; def room = "late" })
        },
        "rule" => ->(klass) { klass.nodevent_room_by :slug },
        "rule of the parent" => ->(klass) { def (klass.superclass).nodevent_room_by = :slug },
        "own rule" => ->(klass) { def klass.nodevent_room_by(*) = :slug },
        "to_param" => ->(klass) { klass.class_eval { def to_param = "late" } },
        "id" => ->(klass) { klass.class_eval { def id = "late" } },
        "name" => ->(klass) { def klass.name = "Renamed" },
        "namespace" => ->(klass) { klass.nodevent_namespace "/records" },
        "is_a?" => ->(klass) { klass.class_eval { def is_a?(other) = other == NoDevent::Base ? false : super } }
      }
      changes.each_with_index do |(name, change), index|
        beneath = Object.const_set("Beneath#{index}", Module.new)
        klass = Class.new(Struct.new(:id, :slug)) { include beneath; include NoDevent::Base }
        klass.const_set(:BENEATH, beneath)
        Object.const_set("Changed#{index}", klass)
        record = klass.new(1, "slug")
        compare("before", record)
        change.call(klass)
        compare(name, record)
        compare(name, klass.new(2, "other"))
      end
      removed = record_class(:Removed) { def to_param = "mine" }
      compare("before", removed.new(1))
      removed.remove_method(:to_param)
      compare("removed", removed.new(1))
      copy = removed.dup
      Object.const_set(:Copy, copy)
      compare("copy", copy.new(1))
      compare("frozen", record_class(:Frozen).freeze.new(1))
    RUBY
    expect(got["wrong"]).to eq([])
    expect(got["fast"].uniq).to eq(["before", "rule", "rule of the parent", "own rule", "to_param", "id", "name", "removed",
                                    "copy"])
    expect(got["fast"].count("before")).to eq(24)
  end

  it "reads the rule and the namespace of a superclass, without its respond_to?" do
    out = ruby(<<~RUBY, env: env)
      require "nodevent"
      #{TOOLS}
      class Finders; end
      class Child < Finders
        include NoDevent::Base
        def id = 7
        def slug = "s"
      end
      def Finders.respond_to_missing?(name, _) = name.start_with?("nodevent_") ? raise("asked for \#{name}") : super
      p [Child.new.emit("e", 1), received, REFLECTED.size, Child.nodevent_room_by, Child.nodevent_namespace]
      def Finders.nodevent_room_by = :slug
      p [Child.new.emit("e", 1), received, REFLECTED.size]
      def Finders.nodevent_namespace = "/board"
      p Child.nodevent_namespace
      Finders.singleton_class.send(:private, :nodevent_namespace)
      p Child.nodevent_namespace
    RUBY
    expect(out.lines(chomp: true)).to eq(['[true, "Child_7", 0, nil, nil]', '[true, "Child_s", 0]', '"/board"', "nil"])
  end

  it "calls an application's emit and nodevent_emit" do
    out = ruby(<<~RUBY, env: env)
      require "nodevent"
      #{TOOLS}
      #{DEFINE}
      module Emitting; def emit(*) = :beneath; end
      parent = Class.new(Struct.new(:id))
      Object.const_set(:Child, Class.new(parent) { include NoDevent::Base })
      record = Child.new(1)
      p [record.emit("e", 1), record.emit("e", 1), record.emit("e", { "a" => 1 })]
      3.times { p received }
      p REFLECTED.size
      parent.include(Emitting)
      p record.emit("e", 1)
      above = record_class(:Above)
      p above.new(1).emit("e", 1), above.new(1).emit("e", 1)
      above.class_eval { def nodevent_emit(*) = :above }
      p above.new(1).emit("e", 1)
      p above.emit("e", 1)
      2.times { p received }
      p [Child.instance_method(:emit).super_method.owner, (record.nodevent_emit rescue $!.class),
         (record.nodevent_emit(nil, 1) rescue $!.class), (record.room(1) rescue $!.class), (record.nodevent_room(1) rescue $!.class)]
    RUBY
    expect(out.lines(chomp: true)).to eq(
      ["[true, true, true]", '"Child_1"', '"Child_1"', '"Child_1"', "0", ":beneath", "true", "true", ":above", "true",
       '"Above_1"', '"Above_1"', "[NoDevent::Base, ArgumentError, NoDevent::InvalidEventError, \"Child_1\", ArgumentError]"]
    )
  end

  it "names the rooms of Active Record as Ruby does" do
    out = rails(<<~RUBY, env: env, settings: "config.log_level = :info")
      #{TOOLS}
      ActiveRecord::Schema.define do
        create_table(:posts) { |t| t.string :title; t.string :slug; t.string :type; t.integer :board_id }
        create_table(:tokens, id: :string) { |t| t.string :title }
      end
      class ApplicationRecord < ActiveRecord::Base
        self.abstract_class = true
        include NoDevent::Base
      end
      class Post < ApplicationRecord; end
      class Reply < Post; end
      class Slugged < ActiveRecord::Base; self.table_name = "posts"; self.inheritance_column = nil; include NoDevent::Base; def to_param = "\#{id}-\#{title}"; end
      class Ruled < Slugged; def to_param = raise; nodevent_room_by :id; end
      class Roomed < ApplicationRecord; self.table_name = "posts"; self.inheritance_column = nil; alias_attribute :room, :title; end
      class Token < ApplicationRecord; end
      Plain = Struct.new(:id) { include NoDevent::Base }
      Param = Struct.new(:id) { include NoDevent::Base; def to_param = "p\#{id}" }
      post = Post.create!(title: "a")
      compare("record", post)
      compare("loaded", Post.find(post.id))
      compare("inherited", Reply.create!(title: "b"))
      compare("becomes", Reply.last.becomes(Post))
      compare("slug", Slugged.create!(title: "c"))
      compare("rule", Ruled.create!(title: "d"))
      compare("attribute", Roomed.create!(title: "e"))
      compare("uuid", Token.create!(id: "0c1c3fd6-7c24-4b6a-8a2e-0f3a9ad5e6d1"))
      compare("joined", Token.create!(id: "a_b"))
      compare("unsaved", Post.new)
      compare("partial", Post.select(:title).first)
      compare("destroyed", Post.create!(title: "f").destroy!)
      compare("object", Plain.new(1))
      compare("to_param", Param.new(1))
      class Token; def id = %w[a_b c]; end
      compare("composite", Token.last)
      class Post; def to_param = "late-\#{id}"; end
      compare("late", post)
      class ApplicationRecord; def room = "all"; end
      compare("late parent", post)
      Param.remove_method(:to_param)
      compare("removed", Param.new(2))
      done
    RUBY
    got = JSON.parse(out)
    expect(got["wrong"]).to eq([])
    expect(got["fast"]).to eq(%w[record loaded inherited slug rule uuid joined destroyed object to_param late removed])
  end
end
