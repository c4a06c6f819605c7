# frozen_string_literal: true

require "fileutils"
require "tmpdir"

RSpec.describe NoDevent do
  it "N-75 defines its three modules after require" do
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

  it "says what to do if the server is not built" do
    Dir.mktmpdir do |folder|
      FileUtils.mkdir_p([File.join(folder, "exe"), File.join(folder, "lib/nodevent")])
      %w[exe/nodevent lib/nodevent/server_binary.rb].each do |file|
        FileUtils.cp(File.join(ROOT, file), File.join(folder, file))
      end
      out, status = Open3.capture2e(File.join(folder, "exe/nodevent"))
      expect([out[/\A.*?\./], status.exitstatus]).to eq(["nodevent: the server is not built.", 69])
    end
  end

  it "says what to do if the extension is not built, or Rust is missing" do
    Dir.mktmpdir do |folder|
      FileUtils.cp_r(File.join(ROOT, "lib"), folder)
      FileUtils.rm_f(Dir["#{folder}/lib/nodevent/**/*.so"])
      out, = Open3.capture2e(RbConfig.ruby, "-I#{folder}/lib", "-e", 'require "nodevent"')
      expect(out).to include("run `rake compile`")
    end
    out, status = Open3.capture2e({ "CARGO" => "/nowhere/cargo" }, RbConfig.ruby,
                                  File.join(ROOT, "ext/nodevent/extconf.rb"))
    expect([out,
            status.success?]).to match([/requires Rust 1.88 or newer.*cargo is not on the PATH.*rustup.rs/m, false])
  end

  it "N-99 cannot be included, with the message of the older gem" do
    expect { Class.new { include NoDevent } }
      .to raise_error(RuntimeError, "No longer supported, Please include NoDevent::Base instead")
  end

  it "requires neither Rails nor Bundler" do
    expect(ruby('require "nodevent"; p defined?(Rails), defined?(ActiveSupport), defined?(Bundler)')).to eq("nil\n" * 3)
  end
end
