# frozen_string_literal: true

# The demo shows what others may write: it uses nothing that the guides do not tell of.
RSpec.describe "The demo" do
  let(:ruby_files) { sources("{app,config,db}/**/*.{rb,erb}", "Rakefile", "config.ru") }
  let(:scripts) { sources("public/**/*.js") }

  def sources(*patterns)
    patterns.flat_map { |pattern| Dir[File.join(ROOT, "demo", pattern)] }.map { |path| File.read(path) }.join("\n")
  end

  def read(*names)
    names.map { |name| File.read(File.join(ROOT, name)) }.join("\n")
  end

  # The words of ours that stand there.
  def words(text, pattern)
    text.scan(pattern).flatten.compact.uniq
  end

  it "uses only what sig/nodevent.rbs makes public and docs/rails.md explains" do
    used = words(ruby_files, /\bNoDevent((?:::\w+)*(?:\.\w+)?)/).flat_map { |path| path.scan(/\w+/) }
    used |= words(ruby_files, /\b(nodevent_\w+|javascript_include_nodevent|emits_changes|room_json|room_key)\b/)
    used |= words(ruby_files, /\b(emit)\b/)
    expect(used).to include("Base", "Emitter", "silence", "room_json", "nodevent_update", "emit")
    { "sig/nodevent.rbs" => read("sig/nodevent.rbs"), "docs/rails.md" => read("docs/rails.md") }.each do |name, text|
      expect([name, used.reject { |word| text.match?(/\b#{word}\b/) }]).to eq([name, []])
    end
  end

  it "reaches into nothing that is ours by instance variables, send or private constants" do
    expect(ruby_files).not_to match(/NoDevent[^\n]*\.(?:send|__send__|instance_variable_\w+|const_get|instance_eval)\b/)
    expect(ruby_files).not_to match(/NoDevent::(?:Native|Publisher|Failures|Silence|Instrumentation|Room|RoomKey)\b/)
  end

  it "calls in the page only what the client's types and docs/browser.md name" do
    used = words(scripts, /\b(?:room|nodevent|NoDevent)\??\.(\w+)\(/)
    used |= words(scripts, /\b(?:room|nodevent)\.on\("(\w+)"/)
    used |= words(scripts, /\bstate\??\.(\w+)/)
    expect(used).to include("room", "on", "setKey", "join", "leave", "connected", "gap", "connect", "recovered")
    ["client/types/nodevent.d.ts", "docs/browser.md"].each do |name|
      text = read(name)
      expect([name, used.reject { |word| text.match?(/\b#{word}\b/) }]).to eq([name, []])
    end
  end
end
