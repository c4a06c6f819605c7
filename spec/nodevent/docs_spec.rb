# frozen_string_literal: true

# The comments that YARD reads. The public methods are those in sig/nodevent.rbs.
RSpec.describe "The documentation" do
  # Methods that users call most, and look for an example of.
  let(:with_example) do
    %w[Emitter.emit Emitter.config= Emitter.room_key Emitter.publisher= Base#room_json Base#emit Helper#nodevent_url
       Helper#javascript_include_nodevent Helper#nodevent_data Helper#nodevent_room_tag Changes#emits_changes
       Testing::Matchers#have_emitted Testing::Assertions#assert_emitted NoDevent.flush NoDevent.stats NoDevent.silence
       NoDevent.test_mode! NoDevent.on_error].map { |name| name.start_with?("NoDevent") ? name : "NoDevent::#{name}" }
  end

  # `[name, comment, parameters]` of each public method; an attribute's comment is its definition's.
  def documented
    script = <<~RUBY
      %w[json nodevent nodevent/rspec nodevent/minitest nodevent/doctor nodevent/cable/check nodevent/cable/state].each { |name| require name }
      require "#{ROOT}/spec/signatures"
      natives = [NoDevent::Native::PlainEmit, NoDevent::Native::RecordEmit, NoDevent::Native::RecordNames]
      found = Signatures.methods_in("#{ROOT}/sig/nodevent.rbs").filter_map do |owner, name, own|
        next if owner < Struct || name == :initialize

        method = own ? owner.method(name) : owner.instance_method(name)
        method = method.super_method if natives.include?(method.owner)
        file, line = method.source_location
        above = File.readlines(file, chomp: true).first(line - 1).reverse.take_while { |text| text.match?(/^\\s*#/) }
        parameters = method.parameters.filter_map { |kind, word| word if word && kind != :block && word.match?(/\\w/) }
        ["\#{owner}\#{own ? "." : "#"}\#{name}", above.reverse.join("\\n"), parameters]
      end
      puts JSON.generate(found)
    RUBY
    JSON.parse(ruby(script))
  end

  it "documents the parameters, result and errors of every public method, with examples of the most used" do
    found = documented
    expect(found.size).to be > 50
    expect(found.reject { |_, comment, _| comment.match?(/@return|@raise/) }.map(&:first)).to eq([])
    undocumented = found.flat_map do |name, comment, parameters|
      parameters.reject { |word| comment.match?(/@param #{word}\b/) }.map { |word| "#{name}: #{word}" }
    end
    expect(undocumented).to eq([])
    expect(found.filter_map { |name, comment, _| name if comment.include?("@example") }).to include(*with_example)
  end

  # Issue 11, section I.
  it "selects the message in its first example, and recognizes what is in the page by DOM ids" do
    texts = %w[README.md docs/rails.md docs/browser.md].to_h { |name| [name, File.read(File.join(ROOT, name))] }
    expect(texts["README.md"][/```ruby\n(.*?)```/m, 1]).to include("emits_changes message:")
    expect(texts["docs/rails.md"][/^## 4\. Emitting\n+```ruby\n(.*?)```/m, 1]).to include("emits_changes message:")
    blocks = texts.values.flat_map { |text| text.scan(/```(?:js|erb)\n(.*?)```/m).flatten }.grep(/\.append(?:Child)?\(/)
    expect(blocks.size).to be >= 2
    expect(blocks.grep_v(/getElementById\(`comment_\$\{id\}`\)/)).to eq([])
  end
end
