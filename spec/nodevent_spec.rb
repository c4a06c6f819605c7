# frozen_string_literal: true

require "fileutils"
require "tmpdir"

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

  it "N-106 runs a server of its own version as `nodevent`, with the same pid" do
    out, status = Open3.capture2(File.join(ROOT, "exe/nodevent"), "--version")
    expect([out.strip, status.success?]).to eq(["nodevent #{NoDevent::VERSION}", true])
    server = Process.spawn(File.join(ROOT, "exe/nodevent"), "/nowhere.yml", err: File::NULL)
    expect(Process.wait2(server).last.exitstatus).to eq(64)
  end

  it "says what to do where the server is not built" do
    Dir.mktmpdir do |folder|
      FileUtils.mkdir_p(File.join(folder, "exe"))
      FileUtils.cp(File.join(ROOT, "exe/nodevent"), File.join(folder, "exe"))
      out, status = Open3.capture2e(File.join(folder, "exe/nodevent"))
      expect([out[/\A.*?\./], status.exitstatus]).to eq(["nodevent: the server is not built.", 69])
    end
  end

  it "says what to do where the extension is not built, or there is no Rust to build it" do
    Dir.mktmpdir do |folder|
      FileUtils.cp_r(File.join(ROOT, "lib"), folder)
      FileUtils.rm_f(Dir["#{folder}/lib/nodevent/**/*.so"])
      out, = Open3.capture2e(RbConfig.ruby, "-I#{folder}/lib", "-e", 'require "nodevent"')
      expect(out).to include("run `rake compile`")
    end
    out, status = Open3.capture2e({ "CARGO" => "/nowhere/cargo" }, RbConfig.ruby,
                                  File.join(ROOT, "ext/nodevent/extconf.rb"))
    expect([out, status.success?]).to match([/built with Rust 1.88 or newer.*there is no cargo.*rustup.rs/m, false])
  end

  it "N-99 refuses to be included, in the words of old" do
    expect { Class.new { include NoDevent } }
      .to raise_error(RuntimeError, "No longer supported, Please include NoDevent::Base instead")
  end

  it "needs neither Rails nor Bundler" do
    expect(ruby('require "nodevent"; p defined?(Rails), defined?(ActiveSupport), defined?(Bundler)')).to eq("nil\n" * 3)
  end
end
