# frozen_string_literal: true

require "net/http"
require "socket"
require "tmpdir"

# A folder with an application, and the Puma that runs it with `plugin :nodevent`.
class PumaWithPlugin
  attr_reader :pid, :port, :server_port

  # @param rackup [String, nil] the text of config.ru, instead of an application that responds with the process's id
  def initialize(folder, settings: "", environment: {}, configuration: nil, rackup: nil)
    @folder = folder
    @port = Ports.free
    @server_port = Ports.free
    Dir.mkdir(File.join(folder, "config"))
    File.write(File.join(folder, "config.ru"), rackup || "run(->(_) { [200, {}, [Process.pid.to_s]] })\n")
    File.write(File.join(folder, "config/puma.rb"), <<~RUBY)
      bind "tcp://127.0.0.1:#{@port}"
      threads 1, 2
      plugin :nodevent
      #{settings}
    RUBY
    configure(configuration || valid)
    start(environment)
  end

  def valid(more = "")
    "bind: 127.0.0.1\nport: #{server_port}\nopen: true\n#{more}"
  end

  def configure(text)
    File.write(File.join(@folder, "config/nodevent.yml"), text)
  end

  def start(environment = {})
    clean = { "RUBYLIB" => "#{ROOT}/lib", "RUBYOPT" => nil, "RAILS_ENV" => nil, "RACK_ENV" => nil, "NODEVENT_ENV" => nil }
    File.open(File.join(@folder, "log"), "a") do |log|
      @pid = Process.spawn(clean.merge(environment), "puma", chdir: @folder, out: log, err: log, pgroup: true)
    end
  end

  def log
    File.read(File.join(@folder, "log"))
  end

  def response
    Net::HTTP.get(URI("http://127.0.0.1:#{port}/"))
  rescue SystemCallError, EOFError
    nil
  end

  def server?
    Net::HTTP.get_response(URI("http://127.0.0.1:#{server_port}/healthz")).code == "200"
  rescue SystemCallError, EOFError
    false
  end

  # The pids of the servers that Puma has started.
  def started
    log.scan(/server started \(pid (\d+)\)/).flatten.map(&:to_i)
  end

  def signal(name)
    Process.kill(name, pid)
  end

  def wait
    PumaServer.wait(pid)
    @pid = nil
  end

  # Ends what still runs, also if the plugin has failed to.
  def stop
    [pid, *started.last].compact.each do |one|
      Process.kill(:KILL, one)
    rescue Errno::ESRCH
      nil
    end
    Process.wait(pid) if pid
  end
end

# The smallest WebSocket client: it connects with Engine.IO, and sends a ping of its own.
class OpenWebSocket
  def initialize(port)
    @socket = TCPSocket.new("127.0.0.1", port)
    @socket.write("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:#{port}\r\nUpgrade: websocket\r\n" \
                  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
    nil until @socket.gets == "\r\n"
    frame
  end

  # Asks for the namespace, which the server confirms.
  def connected?
    @socket.write([0x81, 0x80 | 12, 0, 0, 0, 0].pack("C*"), "40/nodevent,")
    frame.start_with?("40/nodevent,")
  end

  def close
    @socket.close
  end

  private

  def frame
    _, length = @socket.readpartial(2).unpack("CC")
    @socket.read(length)
  end
end

RSpec.describe "plugin :nodevent" do
  def puma(**options)
    Dir.mktmpdir do |folder|
      puma = PumaWithPlugin.new(folder, **options)
      yield puma
    ensure
      puma&.stop
    end
  end

  def running?(pid)
    Process.kill(0, pid)
    true
  rescue Errno::ESRCH
    false
  end

  def both_run(puma)
    eventually("the server and Puma", limit: 60) { puma.server? && puma.response } ||
      raise(puma.log)
  end

  it "runs the server with Puma, with one log, and ends with Ctrl-C" do
    puma do |puma|
      both_run(puma)
      expect(puma.started.size).to eq(1)
      expect(puma.log).to include("Listening on").and include("nodevent starts")
      # As a terminal does: the signal goes to the whole group.
      Process.kill(:INT, -puma.pid)
      puma.wait
      expect(running?(puma.started.first)).to be(false)
      expect(Ports.free?(puma.server_port)).to be(true)
      expect(puma.log).not_to include("starts again")
    end
  end

  it "ends with SIGTERM, in a cluster too" do
    puma(settings: "workers 2\npreload_app!") do |puma|
      both_run(puma)
      puma.signal(:TERM)
      puma.wait
      expect(puma.started.map { |pid| running?(pid) }).to eq([false])
    end
  end

  it "starts a server again that was killed" do
    puma do |puma|
      both_run(puma)
      Process.kill(:KILL, puma.started.last)
      eventually("another server", limit: 60) { puma.started.size == 2 && puma.server? }
      expect(puma.log).to include("server ended (signal KILL); it starts again in 0.5 s")
      expect(puma.response).to eq(puma.pid.to_s)
    end
  end

  it "leaves no server behind when Puma is killed, and the next Puma gets the port" do
    puma do |puma|
      both_run(puma)
      server = puma.started.last
      puma.signal(:KILL)
      puma.wait
      eventually("the end of the server", limit: 60) { !running?(server) }
      expect(puma.log).to include("the parent process has ended")
      puma.start
      both_run(puma)
      expect(puma.started.size).to eq(2)
    end
  end

  # The number of a server that has ended may be that of another process by now, and a zombie is a process that has ended.
  it "ends no process that it has not started" do
    foreign = IO.popen(["sh", "-c", "sleep 60 >/dev/null & echo $!"], &:read).to_i
    require "nodevent/server_process"
    server = NoDevent::ServerProcess.new { |message| message }
    server.instance_variable_set(:@pid, foreign)
    server.stop
    expect(`ps -o stat= -p #{foreign}`).to match(/\A[^Z]/)
  ensure
    Process.kill(:KILL, foreign) if foreign
  end

  it "keeps the server and its connections when Puma restarts" do
    puma do |puma|
      both_run(puma)
      socket = OpenWebSocket.new(puma.server_port)
      puma.signal(:USR2)
      eventually("the restart", limit: 60) { puma.log.include?("server continues (pid #{puma.started.first})") }
      both_run(puma)
      expect(socket.connected?).to be(true)
      socket.close
      puma.signal(:TERM)
      puma.wait
      expect(puma.started.map { |pid| running?(pid) }).to eq([false])
    end
  end

  it "passes the Unix socket for hand-overs to the server and to the application, also after a restart" do
    rackup = <<~RUBY
      require "nodevent"
      map("/nodevent") { run NoDevent::Server }
      run(->(_) { [200, {}, [Process.pid.to_s]] })
    RUBY
    puma(rackup: rackup, settings: "workers 2") do |puma|
      both_run(puma)
      open = -> { WebSocket.new(puma.port, "/nodevent/socket.io/?EIO=4&transport=websocket").tap(&:next_text) }
      entered = lambda do |socket|
        socket.send("40/nodevent,")
        expect(socket.next_text).to start_with("40/nodevent,")
      end
      first = open.call
      puma.signal(:USR2)
      eventually("the restart", limit: 60) { puma.log.include?("server continues (pid #{puma.started.first})") }
      both_run(puma)
      entered.call(first)
      entered.call(eventually("a WebSocket", limit: 60) { open.call rescue nil }) # rubocop:disable Style/RescueModifier
      expect(puma.log).not_to include("no connections are handed over")
    end
  end

  it "keeps the one server of a cluster in a phased restart" do
    puma(settings: "workers 2") do |puma|
      both_run(puma)
      workers = -> { puma.log.scan(/Worker \d+ \(PID: (\d+)\) booted/).flatten }
      old = eventually("both workers", limit: 60) { (pids = workers.call).size == 2 && pids }
      socket = OpenWebSocket.new(puma.server_port)
      puma.signal(:USR1)
      eventually("other workers", limit: 60) { (worker = puma.response) && !old.include?(worker) }
      expect(socket.connected?).to be(true)
      expect(puma.started.size).to eq(1)
      socket.close
    end
  end

  it "starts a server again whose status the cluster has collected" do
    puma(settings: "workers 1") do |puma|
      both_run(puma)
      Process.kill(:KILL, puma.started.last)
      eventually("another server", limit: 60) { puma.started.size == 2 && puma.server? }
    end
  end

  it "replaces the server at a restart if the configuration has changed" do
    puma do |puma|
      both_run(puma)
      puma.configure(puma.valid("log: { level: debug }\n"))
      puma.signal(:USR2)
      eventually("another server", limit: 60) { puma.started.size == 2 && puma.server? }
      expect(running?(puma.started.first)).to be(false)
    end
  end

  it "says once what is wrong with the configuration, and starts the server when it is right" do
    puma(configuration: "/nodevent: { secret: '' }\n") do |puma|
      eventually("Puma", limit: 60) { puma.response }
      eventually("the message", limit: 60) { puma.log.include?("it starts when config/nodevent.yml has changed") }
      expect(puma.log.scan("secret is empty").size).to eq(1)
      puma.configure(puma.valid)
      eventually("the server", limit: 60) { puma.server? }
    end
  end

  it "leaves Puma alone while another program has the port, and starts the server when it is free" do
    other = nil
    puma(configuration: "/nodevent: { secret: '' }\n") do |puma|
      eventually("Puma", limit: 60) { puma.response }
      other = TCPServer.new("127.0.0.1", puma.server_port)
      puma.configure(puma.valid)
      eventually("an attempt", limit: 60) { puma.log.include?("server ended (exit status 69)") }
      expect(puma.response).to eq(puma.pid.to_s)
      other.close
      eventually("the server", limit: 60) { puma.server? }
    end
  ensure
    other&.close
  end

  it "runs no server in production unless it is asked to" do
    puma(environment: { "RAILS_ENV" => "production" }) do |puma|
      eventually("Puma", limit: 60) { puma.response }
      expect(puma.log).to include("NODEVENT_IN_PUMA=1 starts it outside of development")
      expect(puma.started).to eq([])
    end
    puma(environment: { "RAILS_ENV" => "production", "NODEVENT_IN_PUMA" => "1" }) { |puma| both_run(puma) }
    puma(environment: { "NODEVENT_IN_PUMA" => "0" }) do |puma|
      eventually("Puma", limit: 60) { puma.response }
      expect(puma.started).to eq([])
    end
  end
end
