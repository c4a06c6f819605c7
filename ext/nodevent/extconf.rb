# frozen_string_literal: true

# Writes the Makefile that builds the extension and the server with cargo. RubyGems runs it in an installed gem,
# `rake compile` in a checkout. It needs no other gem.
#
# NODEVENT_PROFILE: the cargo profile; `dev` in a checkout, `release` in an installed gem.
# NODEVENT_TARGET_DIR: where cargo builds, to keep what it has built for the next time.

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
  abort "nodevent: the extension and the server are built with Rust #{MINIMUM} or newer, and " \
        "#{found ? "cargo #{found} is installed" : 'there is no cargo on the PATH'}. Install it from " \
        "https://rustup.rs and try again."
end

profile = ENV.fetch("NODEVENT_PROFILE", CHECKOUT ? "dev" : "release")
# A checkout shares the workspace's target folder; an installed gem leaves none behind.
kept = ENV.fetch("NODEVENT_TARGET_DIR", CHECKOUT ? File.join(ROOT, "target") : nil)
target = kept || File.join(Dir.pwd, "target")
output = File.join(target, profile == "dev" ? "debug" : profile)
library = RbConfig::CONFIG["host_os"].match?(/darwin/) ? "libnodevent.dylib" : "libnodevent.so"
arguments = ["--profile", profile, "--manifest-path", File.join(ROOT, "Cargo.toml"), "--target-dir", target]
arguments << "--locked" unless CHECKOUT

# Named only where it is another than cargo would find: to name it makes cargo build the bindings again.
on_path = ENV.fetch("PATH", "").split(File::PATH_SEPARATOR).map { |folder| File.join(folder, "ruby") }
             .find { |file| File.executable?(file) }
usual = on_path && File.realpath(on_path) == File.realpath(RbConfig.ruby)
ruby = usual ? nil : "RUBY=#{RbConfig.ruby.shellescape} "

File.write("Makefile", <<~MAKEFILE)
  # Written by extconf.rb; see there.
  CARGO = #{CARGO.shellescape}
  ARGUMENTS = #{arguments.shelljoin}
  OUTPUT = #{output.shellescape}
  sitearchdir = #{RbConfig::CONFIG['sitearchdir'].shellescape}
  target_prefix = /nodevent
  PLACE = $(DESTDIR)$(sitearchdir)$(target_prefix)
  HELP = (echo 'nodevent: building failed. It needs a C compiler, the headers of Ruby and libclang;' \\
    'on Debian: apt-get install build-essential ruby-dev libclang1-14 libclang-common-14-dev' >&2; exit 1)

  all: extension server

  extension:
  \t#{ruby}$(CARGO) build -p nodevent-ext $(ARGUMENTS) || $(HELP)

  server:
  \t$(CARGO) build -p nodevent-server --bin nodevent $(ARGUMENTS) || $(HELP)

  install: install-extension install-server
  #{"\trm -rf #{target.shellescape}" unless kept}

  # A running process may have the old file mapped, so it is replaced and not overwritten.
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
