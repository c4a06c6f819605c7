# frozen_string_literal: true

require "tmpdir"

# The code of docs/testing.md, run as an application would run it.
RSpec.describe "The guide of tests" do
  blocks = File.read(File.join(ROOT, "docs/testing.md")).scan(/^```ruby\n(.*?)^```/m).flatten
  subject_of_tests, rspec, minitest, plain = blocks

  # Runs a file, and returns what it prints.
  def run(text, *command)
    Dir.mktmpdir do |folder|
      path = File.join(folder, "example_spec.rb")
      File.write(path, text)
      environment = Children::CLEAN.merge("RUBYLIB" => "#{ROOT}/lib")
      Open3.capture2e(environment, *Children::LIMITED, *command, path, chdir: folder).first
    end
  end

  it "has examples for RSpec that pass" do
    out = run("require \"nodevent\"\n#{subject_of_tests}#{rspec}", "rspec", "--no-color", "--options", File::NULL)
    expect(out).to include("4 examples, 0 failures")
  end

  it "has examples for RSpec that fail if nothing is sent" do
    silent = "class Mention\n  def self.create(*, **) = nil\nend\n"
    out = run("require \"nodevent\"\n#{silent}#{rspec}", "rspec", "--no-color", "--options", File::NULL)
    expect(out).to include("4 examples, 3 failures")
    expect(out).to include('expected "mention" to "user 7", "user 8" to be emitted, but it was not emitted')
    expect(out).to include('expected "mention" for "user 7", "user 8"')
  end

  it "has examples for Minitest that pass" do
    out = run("require \"nodevent\"\n#{subject_of_tests}#{minitest}", RbConfig.ruby, "-rminitest/autorun")
    expect(out).to match(/3 runs, \d+ assertions, 0 failures, 0 errors/)
  end

  it "shows what is recorded without a test framework" do
    lines = plain.lines.grep(/# =>/).map { |line| line.strip.split(/\s+# => /) }
    expect(lines.size).to eq(4)
    checked = plain.gsub(/^(.*?)\s+# => (.*)$/) { "check((#{Regexp.last_match(1)}), #{Regexp.last_match(2)})" }
    out = run(<<~RUBY, RbConfig.ruby)
      require "nodevent"
      def check(actual, expected) = puts(actual == expected ? "ok" : "\#{actual.inspect} is not \#{expected.inspect}")
      #{subject_of_tests}
      #{checked}
    RUBY
    expect(out).to eq("ok\n" * 4)
  end
end
