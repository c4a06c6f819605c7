# frozen_string_literal: true

# A server with a store: confirmed publications per second next to what the disk's own fsync allows, and the time of a
# start with a million publications. Prints one line per figure.
#
#   ruby bench/store/store.rb FOLDER [throughput] [start] [publications, 1000000]
#
# FOLDER must be on the disk to be measured. Without a name both parts are measured. It uses the release build of the
# server, or NODEVENT_BINARY.

require "fileutils"
require "json"
require "net/http"
require "socket"
require "tmpdir"

ROOT = File.expand_path("../..", __dir__)
BINARY = ENV.fetch("NODEVENT_BINARY", "#{ROOT}/target/release/nodevent")
# What is stored of a publication: about 250 bytes, with its position and the time.
TEXT = "x" * 150
GROUP = 256
ROOMS = 10_000

def seconds
  begun = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  yield
  Process.clock_gettime(Process::CLOCK_MONOTONIC) - begun
end

def show(name, figure) = puts(format("%<name>-58s %<figure>s", name: name, figure: figure))

def rate(name, count, took) = show(name, format("%<rate>8.0f per second", rate: count / took))

# One process of the server, on a free port.
class Server
  attr_reader :port

  def initialize(folder, store)
    @folder = folder
    @port = TCPServer.open("127.0.0.1", 0) { |one| one.addr[1] }
    File.write("#{folder}/nodevent.yml", <<~YAML)
      bind: 127.0.0.1
      port: #{@port}
      #{"store: #{store}" if store}
      /nodevent: { open: true, history: { size: 100, age: 1h, max_memory: 4GB } }
      publish: local
    YAML
  end

  # Starts it. Returns the seconds until it is ready.
  def start
    @pid = Process.spawn(BINARY, "#{@folder}/nodevent.yml", err: "#{@folder}/log")
    seconds { sleep 0.002 until ready? }
  end

  def stop(signal)
    Process.kill(signal, @pid)
    Process.wait(@pid)
  end

  # The time of the start that it has logged itself.
  def read_in
    sleep 0.01 until (took = File.read("#{@folder}/log")[/the store was read.*?took=(\S+)/, 1])
    took
  end

  # Seconds of processor time since its start.
  def cpu = File.read("/proc/#{@pid}/stat").split(")").last.split.values_at(11, 12).sum(&:to_i) / 100.0

  def memory = File.read("/proc/#{@pid}/status")[/VmRSS:\s+(\d+)/, 1].to_i / 1024

  def store_command(name)
    system(BINARY, "store", name, "--config", "#{@folder}/nodevent.yml", out: File::NULL, exception: true)
  end

  private

  def ready?
    raise "the server has ended: #{File.read("#{@folder}/log")}" if Process.wait(@pid, Process::WNOHANG)

    Net::HTTP.get_response("127.0.0.1", "/readyz", @port).code == "200"
  rescue Errno::ECONNREFUSED
    false
  end
end

# A publisher: one connection that is kept open.
class Publisher
  attr_reader :socket

  def initialize(port)
    @socket = TCPSocket.new("127.0.0.1", port)
    @socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
    @buffer = +""
  end

  def send(body)
    @socket.write("POST /api/nodevent/emit HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" \
                  "Content-Length: #{body.bytesize}\r\n\r\n#{body}")
  end

  # Whether the response has arrived. Blocks for a part of it.
  def confirmed?
    @buffer << @socket.readpartial(1 << 18)
    head, body = @buffer.split("\r\n\r\n", 2)
    return false unless body && body.bytesize >= head[/content-length: (\d+)/i, 1].to_i
    raise "not confirmed: #{@buffer}" unless head.start_with?("HTTP/1.1 200")

    @buffer.clear
    true
  end

  def publish(body)
    send(body)
    nil until confirmed?
  end
end

def publication(room) = { room: "Room_#{room}", event: "update", message: { text: TEXT } }

def bodies(count, size)
  room = 0
  Array.new(count) do
    publications = Array.new(size) { publication((room += 1) % ROOMS) }
    JSON.generate(size == 1 ? publications.first : publications)
  end
end

# Writes and fsyncs, as nothing above the file system does.
def bare(folder, bytes, count)
  File.open("#{folder}/bare", "ab") do |file|
    count / seconds { count.times { file.syswrite("x" * bytes) && file.fdatasync } }
  end
end

# Each of the connections has one publication on its way at a time.
def at_once(port, connections, count)
  one = bodies(1, 1).first
  publishers = Array.new(connections) { Publisher.new(port) }
  by_socket = publishers.to_h { |publisher| [publisher.socket, publisher] }
  left = count
  seconds do
    publishers.each { |publisher| publisher.send(one) }
    while left.positive?
      IO.select(by_socket.keys).first.each do |socket|
        next unless by_socket[socket].confirmed?

        left -= 1
        by_socket[socket].send(one)
      end
    end
  end
end

ENGINES = {
  "memory engine" => nil, "sync: always" => "data", "sync: 100ms" => "{ folder: data, sync: 100ms }"
}.freeze

def throughput(base)
  show_bare(base)
  ENGINES.each do |name, store|
    Dir.mktmpdir(nil, base) do |folder|
      server = Server.new(folder, store)
      server.start
      measure(name, server.port)
    ensure
      server&.stop(:TERM)
    end
  end
  show_bare(base)
end

def show_bare(base) = show("bare fsync, 250 bytes each", format("%<rate>8.0f per second", rate: bare(base, 250, 2000)))

def measure(name, port)
  single = bodies(5000, 1)
  groups = bodies(800, GROUP)
  publisher = Publisher.new(port)
  rate("#{name}: one by one", 5000, seconds { single.each { |body| publisher.publish(body) } })
  rate("#{name}: 64 publishers, each one by one", 30_000, at_once(port, 64, 30_000))
  publisher = Publisher.new(port)
  rate("#{name}: in groups of #{GROUP}", 800 * GROUP, seconds { groups.each { |body| publisher.publish(body) } })
end

def times(server, took)
  format("%<took>.2f s (store read in %<read>s, %<cpu>.2f s of CPU)", took: took, read: server.read_in, cpu: server.cpu)
end

def size(folder) = "#{Dir["#{folder}/data/*"].sum { |file| File.size(file) } >> 20} MB"

def load(server, publications)
  # The same again and again, for as many rooms.
  groups = bodies(ROOMS / 1000, 1000)
  publisher = Publisher.new(server.port)
  took = seconds { (publications / 1000).times { |number| publisher.publish(groups[number % groups.size]) } }
  rate("#{publications} publications in #{ROOMS} rooms, in groups of 1000", publications, took)
end

def restart(server, signal, name)
  server.stop(signal)
  yield if block_given?
  show("ready #{name}", times(server, server.start))
end

def start(base, publications)
  Dir.mktmpdir(nil, base) do |folder|
    server = Server.new(folder, "data")
    server.start
    load(server, publications)
    show("memory, and the file", "#{server.memory} MB, #{size(folder)}")
    restart(server, :KILL, "after kill -9")
    restart(server, :TERM, "after a stop")
    restart(server, :TERM, "after `store compact`") { server.store_command("compact") }
    show("the file", size(folder))
  ensure
    server&.stop(:KILL)
  end
end

base = ARGV.shift or abort("name a folder on the disk to be measured")
publications = Integer(ARGV.last && ARGV.last.match?(/\A\d+\z/) ? ARGV.pop : 1_000_000)
parts = ARGV.empty? ? %w[throughput start] : ARGV
FileUtils.mkdir_p(base)
throughput(base) if parts.include?("throughput")
start(base, publications) if parts.include?("start")
