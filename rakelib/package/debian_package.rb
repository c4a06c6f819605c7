# frozen_string_literal: true

require "English"
require "erb"
require "fileutils"
require "tmpdir"

# The Debian package of the server.
module DebianPackage
  ROOT = File.expand_path("../..", __dir__)
  PACKAGING = File.join(ROOT, "packaging")
  VERSION = File.read(File.join(ROOT, "Cargo.toml"))[/^version = "(.+)"/, 1]
  # Paths in the package, with their modes and sources.
  FILES = {
    "usr/lib/systemd/system/nodevent.service" => [0o644, "packaging/nodevent.service"],
    "usr/lib/sysusers.d/nodevent.conf" => [0o644, "packaging/nodevent.sysusers.conf"],
    "etc/nodevent.yml" => [0o644, "packaging/debian/nodevent.yml"],
    "usr/share/doc/nodevent/copyright" => [0o644, "LICENSE"],
    "usr/share/doc/nodevent/configuration.md" => [0o644, "docs/configuration.md"],
    "DEBIAN/postinst" => [0o755, "packaging/debian/postinst"],
    "DEBIAN/prerm" => [0o755, "packaging/debian/prerm"],
    "DEBIAN/postrm" => [0o755, "packaging/debian/postrm"]
  }.freeze

  # What the command writes about itself for shells, in the folders where these look.
  COMPLETIONS = {
    "bash" => "usr/share/bash-completion/completions/nodevent",
    "zsh" => "usr/share/zsh/vendor-completions/_nodevent",
    "fish" => "usr/share/fish/vendor_completions.d/nodevent.fish"
  }.freeze

  module_function

  def architecture
    `dpkg --print-architecture`.strip
  end

  def file
    File.join(ROOT, "pkg", "nodevent_#{VERSION}_#{architecture}.deb")
  end

  # Builds the package with this binary.
  # @param compression [String] `none` is much faster
  def build(binary, into = file, compression: "xz")
    Dir.mktmpdir do |stage|
      FILES.merge("usr/bin/nodevent" => [0o755, binary]).each { |path, entry| install(stage, path, *entry) }
      install_generated(stage, binary)
      File.write(File.join(stage, "DEBIAN/conffiles"), "/etc/nodevent.yml\n")
      File.write(File.join(stage, "DEBIAN/control"), control(binary))
      File.chmod(0o755, stage)
      FileUtils.mkdir_p(File.dirname(into))
      options = ["--root-owner-group", "-Z#{compression}"]
      system("dpkg-deb", *options, "--build", stage, into, out: File::NULL, exception: true)
    end
  end

  def install(stage, path, mode, source)
    target = File.join(stage, path)
    FileUtils.mkdir_p(File.dirname(target), mode: 0o755)
    FileUtils.cp(File.expand_path(source, ROOT), target)
    File.chmod(mode, target)
  end

  # Installs the completions and the manual pages that the binary prints.
  def install_generated(stage, binary)
    COMPLETIONS.each { |shell, path| write(stage, path, printed(binary, "completions", shell)) }
    commands(binary).each do |name|
      page = printed(binary, "man", *name)
      write(stage, "usr/share/man/man1/#{['nodevent', *name].join('-')}.1.gz", compressed(page))
    end
  end

  # The commands with a manual page: `nil` is the page about all of them.
  def commands(binary)
    list = printed(binary, "--help")[/^Commands:\n(.*?)\n\n/m, 1] or raise "#{binary} lists no commands"
    [nil] + (list.scan(/^  ([a-z-]+)/).flatten - ["help"])
  end

  def printed(*command)
    text = IO.popen(command, &:read)
    $CHILD_STATUS.success? && !text.empty? ? text : raise("#{command.join(' ')} prints nothing")
  end

  # Without a time, so that the same page is the same file.
  def compressed(text)
    IO.popen(%w[gzip -9n], "r+b") do |gzip|
      writer = Thread.new { gzip.write(text) && gzip.close_write }
      gzip.read.tap { writer.join }
    end
  end

  def write(stage, path, content)
    target = File.join(stage, path)
    FileUtils.mkdir_p(File.dirname(target), mode: 0o755)
    File.binwrite(target, content)
    File.chmod(0o644, target)
  end

  def control(binary)
    values = { version: VERSION, architecture: architecture, libc: libc(binary),
               installed_size: (File.size(binary) / 1024.0).ceil }
    ERB.new(File.read(File.join(PACKAGING, "debian/control.erb"))).result_with_hash(values)
  end

  # The newest version of the C library whose symbols the binary needs.
  def libc(binary)
    versions = IO.popen(["objdump", "-T", binary], &:read).scan(/GLIBC_(\d+\.\d+)/).flatten
    versions.max_by { |version| Gem::Version.new(version) } or raise "#{binary} does not use the C library"
  end
end
