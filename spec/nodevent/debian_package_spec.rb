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
