# frozen_string_literal: true

require "open3"
require_relative "../../rakelib/package/npm_package"

# `npm install -g nodevent` installs the command, as the README of version 3 said.
RSpec.describe "The npm packages of the server" do
  before(:all) do
    @folder = Dir.mktmpdir
    # Symbols make the binary large, and do not matter here.
    binary = File.join(@folder, "nodevent")
    system("strip", "-o", binary, NodeventServer.binary, exception: true)
    @packages = NpmPackage.build(binary, File.join(@folder, "packages"))
    @prefix = install(@packages)
  end

  after(:all) { FileUtils.rm_rf(@folder) }

  # Installs packages globally in an empty folder, without a registry.
  def install(packages)
    prefix = Dir.mktmpdir(nil, @folder)
    output, status = Open3.capture2e("npm", "install", "--global", "--prefix", prefix, "--offline", "--no-audit", "--no-fund",
                                     *packages)
    raise output unless status.success?

    prefix
  end

  def command(prefix = @prefix) = File.join(prefix, "bin/nodevent")

  it "installs the command, which passes on arguments, output and the exit status" do
    output, status = Open3.capture2e(command, "--version")
    expect(output).to eq("nodevent #{NpmPackage::VERSION}\n")
    expect(status.exitstatus).to eq(0)

    output, status = Open3.capture2e(command, "serve", "/nowhere/nodevent.yml")
    expect(output).to include("/nowhere/nodevent.yml")
    expect(status.exitstatus).to eq(Open3.capture2e(NodeventServer.binary, "serve", "/nowhere/nodevent.yml").last.exitstatus)
  end

  # Yields the process id of the command, and returns its status after the server has ended too.
  def run_server
    configuration = File.join(@folder, "nodevent.yml")
    File.write(configuration, "bind: 127.0.0.1\nport: 0\n/nodevent: {secret: #{'a' * 32}}\n")
    log, into = IO.pipe
    launcher = Process.spawn(command, "serve", configuration, err: into, out: into)
    into.close
    expect(log.each_line.any? { |line| line.include?("listening") }).to be(true)
    yield launcher
    status = Process.wait2(launcher).last
    launcher = nil
    # The server has the other end of the pipe, until it ends.
    Timeout.timeout(60) { log.read }
    status
  ensure
    log&.close
    Process.kill(:KILL, launcher) && Process.wait(launcher) if launcher
  end

  it "starts a server, which a signal to the command stops" do
    expect(run_server { |launcher| Process.kill(:TERM, launcher) }.exitstatus).to eq(0)
  end

  it "leaves no server behind if it is killed" do
    expect(run_server { |launcher| Process.kill(:KILL, launcher) }.termsig).to eq(9)
  end

  it "says what to install if there is no package for this platform" do
    output, status = Open3.capture2e(command(install([@packages.last])), "--version")
    expect(output).to start_with("nodevent: the package @nodevent/#{NpmPackage.platform} is not installed.")
    expect(status.exitstatus).to eq(69)
  end

  it "contains the browser client too" do
    script = 'import("nodevent").then(({ connect }) => console.log(typeof connect))'
    output, = Open3.capture2e("node", "--eval", script, chdir: File.join(@prefix, "lib/node_modules/nodevent"))
    expect(output).to eq("function\n")
  end
end
