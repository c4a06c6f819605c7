# frozen_string_literal: true

require "rbs"
require "rbs/cli"

RSpec.describe "sig/nodevent.rbs" do
  let(:path) { File.join(ROOT, "sig") }

  it "is valid" do
    out = StringIO.new
    begin
      RBS::CLI.new(stdout: out, stderr: out).run(["-I", path, "validate", "--silent"])
    rescue SystemExit => e
      raise "rbs validate: #{out.string}" unless e.success?
    end
    expect(out.string).not_to match(/error/i)
  end

  it "names only what exists" do
    out = ruby(<<~RUBY)
      require "nodevent"
      require "nodevent/rspec"
      require "nodevent/minitest"
      require "nodevent/doctor"
      require "nodevent/cable/check"
      require "nodevent/cable/state"
      require "#{ROOT}/spec/signatures"
      found = Signatures.methods_in("#{path}/nodevent.rbs")
      missing = found.reject do |owner, name, own|
        next owner.respond_to?(name) if own
        next true if name == :initialize

        owner.method_defined?(name) || owner.private_method_defined?(name)
      end
      p found.size > 50, missing
    RUBY
    expect(out).to eq("true\n[]\n")
  end
end
