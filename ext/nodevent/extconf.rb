# frozen_string_literal: true

# Writes the Makefile that builds the extension and the server with cargo. RubyGems runs it when it installs the gem,
# `rake compile` runs it in a checkout. It requires no other gem.
#
# NODEVENT_PROFILE: the cargo profile; `dev` in a clone, whose `.git` is a folder, and `release` in a submodule of an
# application, in a copy without Git, and in an installed gem.
# NODEVENT_TARGET_DIR: the folder that cargo builds in, kept for the next build.

require "rbconfig"
require "shellwords"

MINIMUM = "1.88"
ROOT = File.expand_path("../..", __dir__)
CHECKOUT = File.exist?(File.join(ROOT, ".git"))
CARGO = ENV.fetch("CARGO", "cargo")

found = begin
  IO.popen([CARGO, "--version"], err: File::NULL, &:read)[/\d+\.\d+(\.\d+)?/]
rescue SystemCallError
  nil
end

unless found && Gem::Version.new(found) >= Gem::Version.new(MINIMUM)
  abort "nodevent: building the extension and the server requires Rust #{MINIMUM} or newer, but " \
        "#{found ? "cargo #{found} is installed" : 'cargo is not on the PATH'}. Install it from " \
        "https://rustup.rs and retry."
end

profile = ENV.fetch("NODEVENT_PROFILE", File.directory?(File.join(ROOT, ".git")) ? "dev" : "release")
# A checkout uses the workspace's target folder; installing a gem deletes its own afterwards.
kept = ENV.fetch("NODEVENT_TARGET_DIR", CHECKOUT ? File.join(ROOT, "target") : nil)
target = kept || File.join(Dir.pwd, "target")
output = File.join(target, profile == "dev" ? "debug" : profile)
library = RbConfig::CONFIG["host_os"].match?(/darwin/) ? "libnodevent.dylib" : "libnodevent.so"
arguments = ["--profile", profile, "--manifest-path", File.join(ROOT, "Cargo.toml"), "--target-dir", target]
arguments << "--locked" unless CHECKOUT

# RUBY is set only if cargo would find another one: setting it makes cargo build the bindings again.
on_path = ENV.fetch("PATH", "").split(File::PATH_SEPARATOR).map { |folder| File.join(folder, "ruby") }
             .find { |file| File.executable?(file) }
default = on_path && File.realpath(on_path) == File.realpath(RbConfig.ruby)
ruby = default ? nil : "RUBY=#{RbConfig.ruby.shellescape} "

# The name of the packages with libclang, which bindgen loads, in the distribution of this machine.
release = File.exist?("/etc/os-release") ? File.read("/etc/os-release") : ""
id = release[/^ID="?(\w+)/, 1]
llvm = { "debian12" => 14, "debian13" => 19 }["#{id}#{release[/^VERSION_ID="?(\d+)/, 1]}"]
clang = llvm ? "libclang1-#{llvm} libclang-common-#{llvm}-dev" : "libclang-dev"
packages = case id
           when "debian", "ubuntu" then "apt-get install build-essential ruby-dev #{clang}"
           when "fedora", "rhel", "rocky", "almalinux" then "dnf install gcc make ruby-devel clang-libs"
           when "alpine" then "apk add build-base ruby-dev clang-libclang"
           when "arch" then "pacman -S base-devel ruby clang"
           else "libclang-dev, or what your system calls it"
           end

File.write("Makefile", <<~MAKEFILE)
  # Written by extconf.rb; see there.
  CARGO = #{CARGO.shellescape}
  ARGUMENTS = #{arguments.shelljoin}
  OUTPUT = #{output.shellescape}
  sitearchdir = #{RbConfig::CONFIG['sitearchdir'].shellescape}
  target_prefix = /nodevent
  PLACE = $(DESTDIR)$(sitearchdir)$(target_prefix)
  # Both, whatever is built: the features of all selected packages apply, so no crate is compiled twice. bin/test selects more.
  NODEVENT_PACKAGES ?= -p nodevent-ext -p nodevent-server
  BUILD = $(CARGO) build $(NODEVENT_PACKAGES) $(ARGUMENTS)
  HELP = (echo 'nodevent: the build failed. It requires a C compiler, the Ruby headers and libclang;' \\
    'on this machine: #{packages}' >&2; exit 1)

  all:
  \t#{ruby}$(BUILD) --lib --bin nodevent || $(HELP)

  extension:
  \t#{ruby}$(BUILD) --lib || $(HELP)

  server:
  \t#{ruby}$(BUILD) --bin nodevent || $(HELP)

  install: install-extension install-server
  #{"\trm -rf #{target.shellescape}" unless kept}

  # Replaced, not overwritten: a running process may have mapped the old file.
  install-extension: extension
  \tmkdir -p $(PLACE)
  \tcp $(OUTPUT)/#{library} $(PLACE)/.nodevent.new
  \tmv $(PLACE)/.nodevent.new $(PLACE)/nodevent.#{RbConfig::CONFIG['DLEXT']}

  install-server: server
  \tmkdir -p $(PLACE)/bin
  \tcp $(OUTPUT)/nodevent $(PLACE)/bin/.nodevent.new
  \tmv $(PLACE)/bin/.nodevent.new $(PLACE)/bin/nodevent

  clean distclean realclean:

  .PHONY: all extension server install install-extension install-server clean distclean realclean
MAKEFILE
