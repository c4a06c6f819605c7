# frozen_string_literal: true

# Writes the Makefile that builds the extension and the server with cargo. RubyGems runs it when it installs the gem,
# `rake compile` runs it in a checkout. It requires no other gem.
#
# NODEVENT_PROFILE: the cargo profile; `dev` in a checkout, `release` in an installed gem.
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

profile = ENV.fetch("NODEVENT_PROFILE", CHECKOUT ? "dev" : "release")
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

File.write("Makefile", <<~MAKEFILE)
  # Written by extconf.rb; see there.
  CARGO = #{CARGO.shellescape}
  ARGUMENTS = #{arguments.shelljoin}
  OUTPUT = #{output.shellescape}
  sitearchdir = #{RbConfig::CONFIG['sitearchdir'].shellescape}
  target_prefix = /nodevent
  PLACE = $(DESTDIR)$(sitearchdir)$(target_prefix)
  HELP = (echo 'nodevent: the build failed. It requires a C compiler, the Ruby headers and libclang;' \\
    'on Debian: apt-get install build-essential ruby-dev libclang1-14 libclang-common-14-dev' >&2; exit 1)

  all: extension server

  extension:
  \t#{ruby}$(CARGO) build -p nodevent-ext $(ARGUMENTS) || $(HELP)

  server:
  \t$(CARGO) build -p nodevent-server --bin nodevent $(ARGUMENTS) || $(HELP)

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
