# frozen_string_literal: true

# Builds the gem as users get it, installs it in an empty folder, and builds it for machines without Rust.

require "rubygems/package"
require "tmpdir"

# Helpers of the tasks below.
module Package
  ROOT = File.expand_path("..", __dir__)
  SMOKE = File.join(ROOT, "rakelib", "package", "smoke.rb")

  module_function

  def spec
    Gem::Specification.load(File.join(ROOT, "nodevent.gemspec"))
  end

  def file(platform = nil)
    File.join(ROOT, "pkg", "#{[spec.name, spec.version, platform].compact.join('-')}.gem")
  end

  # Builds a gem from a specification and the files in `folder`.
  def build(specification, folder, into)
    Dir.chdir(folder) do
      built = Gem::Package.build(specification)
      FileUtils.mkdir_p(File.dirname(into))
      FileUtils.mv(built, into)
    end
  end

  # The specification of a precompiled gem: the server, and one extension per Ruby ABI in a folder of its own.
  def precompiled(abis)
    # RubyGems caches specifications, so this one is a copy.
    native = spec.dup
    native.platform = Gem::Platform.local
    native.extensions = []
    native.files = native.files.grep(%r{\A(lib|exe|sig|client/dist|[A-Z]+(\.md)?\z)}) +
                   abis.map { |abi| "lib/nodevent/#{abi}/nodevent.#{RbConfig::CONFIG['DLEXT']}" } +
                   ["lib/nodevent/bin/nodevent"]
    first, last = abis.minmax_by { |abi| Gem::Version.new(abi) }
    native.required_ruby_version = [">= #{first}", "< #{Gem::Version.new(last).bump}.dev"]
    native
  end
end

desc "Build the gem into pkg/"
task(:package) { Package.build(Package.spec, Package::ROOT, Package.file) }

namespace :package do
  desc "Install the built gem in an empty folder and test it (NODEVENT_PROFILE=release as for users; dev by default)"
  task smoke: :package do
    Dir.mktmpdir do |home|
      environment = { "NODEVENT_PROFILE" => ENV.fetch("NODEVENT_PROFILE", "dev"), "GEM_HOME" => home,
                      "NODEVENT_TARGET_DIR" => File.join(Package::ROOT, "target"),
                      "NODEVENT_PACKAGES" => nil, "RUBYOPT" => nil }
      sh environment, "gem", "install", "--local", "--no-document", "--bindir", File.join(home, "bin"), Package.file,
         verbose: false
      sh environment, RbConfig.ruby, Package::SMOKE, home, chdir: home, verbose: false
    end
  end

  desc "Build a gem for this platform that requires no Rust (RUBIES=\"ruby3.1 ruby3.4\" selects the Rubies)"
  task :native do
    rubies = ENV.fetch("RUBIES", RbConfig.ruby).split
    Dir.mktmpdir do |stage|
      Package.spec.files.each do |path|
        mkdir_p File.dirname(File.join(stage, path)), verbose: false
        cp File.join(Package::ROOT, path), File.join(stage, path), verbose: false
      end
      abis = rubies.map do |ruby|
        abi = IO.popen([ruby, "-e", "print RUBY_VERSION[/\\A\\d+\\.\\d+/]"], &:read)
        Dir.mktmpdir do |build|
          environment = { "NODEVENT_PROFILE" => ENV.fetch("NODEVENT_PROFILE", "release") }
          sh environment, ruby, File.join(Package::ROOT, "ext/nodevent/extconf.rb"), chdir: build, verbose: false
          sh "make", "--silent", "install", "sitearchdir=#{stage}/lib", chdir: build, verbose: false
        end
        mkdir_p "#{stage}/lib/nodevent/#{abi}", verbose: false
        library = "nodevent.#{RbConfig::CONFIG['DLEXT']}"
        mv "#{stage}/lib/nodevent/#{library}", "#{stage}/lib/nodevent/#{abi}/#{library}", verbose: false
        abi
      end
      Package.build(Package.precompiled(abis), stage, Package.file(Gem::Platform.local))
    end
    puts "built #{Package.file(Gem::Platform.local)}"
  end

  desc "Install the precompiled gem in an empty folder and test it"
  task "native:smoke" => :native do
    Dir.mktmpdir do |home|
      environment = { "GEM_HOME" => home, "RUBYOPT" => nil, "CARGO" => "/nonexistent" }
      sh environment, "gem", "install", "--local", "--no-document", "--bindir", File.join(home, "bin"),
         Package.file(Gem::Platform.local), verbose: false
      abi = RUBY_VERSION[/\A\d+\.\d+/]
      sh environment, RbConfig.ruby, Package::SMOKE, home, abi, chdir: home, verbose: false
    end
  end
end
