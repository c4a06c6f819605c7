# frozen_string_literal: true

# The demo is an example for users: it uses only what the guides document.
RSpec.describe "The demo" do
  let(:ruby_files) { sources("{app,config,db}/**/*.{rb,erb}", "Rakefile", "config.ru") }
  let(:scripts) { sources("public/**/*.js") }

  def sources(*patterns)
    patterns.flat_map { |pattern| Dir[File.join(ROOT, "demo", pattern)] }.map { |path| File.read(path) }.join("\n")
  end

  def read(*names)
    names.map { |name| File.read(File.join(ROOT, name)) }.join("\n")
  end

  # The words that match.
  def words(text, pattern)
    text.scan(pattern).flatten.compact.uniq
  end

  it "uses only what sig/nodevent.rbs makes public and the guides explain" do
    used = words(ruby_files, /\bNoDevent((?:::\w+)*(?:\.\w+)?)/).flat_map { |path| path.scan(/\w+/) }
    used |= words(ruby_files, /\b(nodevent_\w+|javascript_include_nodevent|emits_changes|room_json|room_key)\b/)
    used |= words(ruby_files, /\b(emit)\b/)
    expect(used).to include("Base", "Emitter", "silence", "room_json", "nodevent_update", "emit")
    guides = read(*%w[rails tokens mailboxes revocation hooks action-cable].map { |name| "docs/#{name}.md" })
    { "sig/nodevent.rbs" => read("sig/nodevent.rbs"), "the guides" => guides }.each do |name, text|
      expect([name, used.reject { |word| text.match?(/\b#{word}\b/) }]).to eq([name, []])
    end
  end

  it "uses no internals of the gem" do
    expect(ruby_files).not_to match(/NoDevent[^\n]*\.(?:send|__send__|instance_variable_\w+|const_get|instance_eval)\b/)
    expect(ruby_files).not_to match(/NoDevent::(?:Native|Publisher|ErrorReporter|Logger|Silence|Instrumentation|Room)/)
  end

  it "calls only client methods that the types and docs/browser.md name" do
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
