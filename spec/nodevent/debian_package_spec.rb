# frozen_string_literal: true

require_relative "../../rakelib/package/debian_package"

# Row N-12. `rake package:deb:smoke` installs the package in a container with systemd, and kills its server there.
RSpec.describe "N-12 The Debian package" do
  around do |example|
    Dir.mktmpdir do |folder|
      package = File.join(folder, "nodevent.deb")
      DebianPackage.build(NodeventServer.binary, package, compression: "none")
      @root = File.join(folder, "root")
      @control = File.join(folder, "control")
      system("dpkg-deb", "--extract", package, @root, exception: true)
      system("dpkg-deb", "--control", package, @control, exception: true)
      example.run
    end
  end

  let(:command) { File.join(@root, "usr/bin/nodevent") }
  let(:unit) { File.read(File.join(@root, "usr/lib/systemd/system/nodevent.service")) }

  it "installs the command, the service and a configuration that upgrades keep, with valid scripts" do
    expect(File).to be_executable(command)
    expect(unit).to match(%r{^ExecStart=nodevent serve /etc/nodevent\.yml$})
    expect(File.read(File.join(@control, "conffiles")).lines(chomp: true)).to eq(["/etc/nodevent.yml"])
    %w[postinst prerm postrm].each { |script| expect(system("sh", "-n", File.join(@control, script))).to be(true) }
  end

  it "completes commands in bash, zsh and fish, and has a manual page for each command" do
    completion = File.join(@root, "usr/share/bash-completion/completions/nodevent")
    script = 'source "$1"; COMP_WORDS=(nodevent relo); COMP_CWORD=1; _nodevent nodevent relo nodevent; echo "${COMPREPLY[*]}"'
    expect(IO.popen(["bash", "-c", script, "bash", completion], &:read)).to eq("reload\n")
    expect(File.read(File.join(@root, "usr/share/zsh/vendor-completions/_nodevent"))).to start_with("#compdef nodevent")
    expect(File.read(File.join(@root, "usr/share/fish/vendor_completions.d/nodevent.fish"))).to include("reload")
    pages = Dir[File.join(@root, "usr/share/man/man1/*.1.gz")].to_h { |file| [File.basename(file, ".1.gz"), file] }
    commands = IO.popen([command, "--help"], &:read)[/^Commands:\n(.*?)\n\n/m, 1].scan(/^  (\S+)/).flatten - ["help"]
    expect(pages.keys).to match_array(["nodevent"] + commands.map { |name| "nodevent-#{name}" })
    pages.each do |name, file|
      page = Zlib::GzipReader.open(file, &:read).delete("\\")
      expect(page).to match(/^\.TH #{name} /i), name
    end
  end

  it "has a unit whose exposure is the one in the guide" do
    rated = IO.popen(["systemd-analyze", "security", "--offline=true", File.join(ROOT, "packaging/nodevent.service")],
                     &:read)[/Overall exposure level for .*: ([\d.]+)/, 1]
    version, written = File.read(File.join(ROOT, "docs/server.md"))
                           .match(/of systemd (\d+) rates the unit ([\d.]+) /).captures
    expect(rated.to_f).to be <= 2.5
    # Other versions rate other settings.
    expect(rated).to eq(written) if IO.popen(%w[systemd-analyze --version], &:read).start_with?("systemd #{version} ")
  end

  it "has a unit without mistakes, which starts a killed server again" do
    expect(unit).to match(/^Restart=always$/)
    # The unit finds its command in the folders of the system, where this package is not installed.
    local = File.join(@root, "nodevent.service")
    File.write(local, unit.sub(/^ExecStart=nodevent/, "ExecStart=#{command}"))
    mistakes = IO.popen(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", local],
                        err: %i[child out], &:read)
    expect(mistakes).to eq("")
  end

  it "has a server that starts with the installed configuration, and stops" do
    environment = { "NODEVENT_SECRET" => "a" * 64, "NODEVENT_PUBLISH_KEY" => "b" * 64 }
    configuration = File.join(@root, "etc/nodevent.yml")
    File.write(configuration, File.read(configuration).sub(/^port: .*/, "port: 0"))
    log, into = IO.pipe
    server = Process.spawn(environment, command, "serve", configuration, err: into, out: into)
    into.close
    expect(log.each_line.any? { |line| line.include?("listening") }).to be(true)
    Process.kill(:TERM, server)
    expect(Process.wait2(server).last.exitstatus).to eq(0)
    server = nil
  ensure
    log.close
    Process.kill(:KILL, server) && Process.wait(server) if server
  end
end
