# frozen_string_literal: true

RSpec.describe NoDevent do
  it "N-75 is there after require, with its three modules" do
    out = ruby('require "nodevent"; puts [NoDevent::Base, NoDevent::Helper, NoDevent::Emitter].map(&:class).uniq')
    expect(out).to eq("Module\n")
  end

  it "N-106 has an hour, and one version under both names, in Rust and in Ruby" do
    workspace = File.read(File.join(ROOT, "Cargo.toml"))[/\[workspace\.package\].*?^version = "([^"]+)"/m, 1]
    expect(NoDevent::HOUR).to eq(3600)
    expect([NoDevent::VERSION, Nodevent::VERSION, NoDevent::Native::VERSION]).to all(eq(workspace))
  end

  it "N-99 refuses to be included, in the words of old" do
    expect { Class.new { include NoDevent } }
      .to raise_error(RuntimeError, "No longer supported, Please include NoDevent::Base instead")
  end

  it "needs neither Rails nor Bundler" do
    expect(ruby('require "nodevent"; p defined?(Rails), defined?(ActiveSupport), defined?(Bundler)')).to eq("nil\n" * 3)
  end
end
