# frozen_string_literal: true

# Requests to a Rails application under one Puma with 5 threads: without WebSockets, with many that were handed over to
# the server, and without them again. Prints the latencies and their ratio.
#
#   ruby bench/handover/handover.rb [WebSockets, 5000] [requests of each phase, 4000]

require "json"
require "net/http"
require "socket"
require "tmpdir"

ROOT = File.expand_path("../..", __dir__)
THREADS = 2

RACKUP = <<~'RUBY'
  require "action_controller/railtie"
  require "nodevent"
  class PagesController < ActionController::Base
    def show = render(inline: "<p><%= Array.new(50) { |i| i * 2 }.join(', ') %></p>")
  end
  class App < Rails::Application
    config.root = Dir.pwd
    config.eager_load = true
    config.logger = Logger.new(nil)
    config.secret_key_base = "x" * 40
    config.hosts.clear
    routes.append do
      mount NoDevent::Server => "/nodevent"
      root to: "pages#show"
    end
  end
  NoDevent.identify { |request| { user: request.query_string.hash.abs.to_s } }
  run App.initialize!
RUBY

CONFIGURATION = <<~YAML
  bind: 127.0.0.1
  port: 0
  handover_socket: nodevent.sock
  limits:
    handshakes_per_second_per_address: 100000
    max_connections_per_address: 100000
    connect_timeout: 10m
  /nodevent: { open: true, history: off }
YAML

def free_port
  server = TCPServer.new("127.0.0.1", 0)
  server.addr[1].tap { server.close }
end

def wait_for(what, limit = 120)
  deadline = Time.now + limit
  until (found = yield)
    raise "timeout: #{what}" if Time.now > deadline

    sleep 0.05
  end
  found
end

# Opens a WebSocket through Puma.
def open_websocket(port)
  socket = TCPSocket.new("127.0.0.1", port)
  socket.write("GET /nodevent/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n" \
               "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" \
               "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
  raise "refused" unless socket.readpartial(4096).start_with?("HTTP/1.1 101")

  socket
end

# Replies to pings until `stop` is readable. More sockets are added meanwhile. Only every two seconds, because a look at
# all sockets takes time that the other processes would miss.
def reply_to_pings(sockets, stop)
  until stop.wait_readable(2)
    readable, = IO.select(sockets.dup, nil, nil, 0)
    pinged = (readable || []).select { |socket| socket.readpartial(4096).end_with?("2") }
    pinged.each { |socket| socket.write([0x81, 0x81, 0, 0, 0, 0].pack("C*"), "3") }
  end
end

# Opens WebSockets in a process of its own, which ends when the returned pipe is closed.
def hold(port, count)
  ready, into = IO.pipe
  stop, stopper = IO.pipe
  pid = fork do
    stopper.close
    sockets = []
    # Its errors end the process: a WebSocket that was closed is not measured as an open one.
    replies = Thread.new { reply_to_pings(sockets, stop) }.tap { |thread| thread.abort_on_exception = true }
    count.times { sockets << open_websocket(port) }
    into.puts(sockets.size)
    replies.join
    exit!(0)
  end
  [into, stop].each(&:close)
  raise "the WebSockets could not be opened" unless ready.gets.to_i == count

  [pid, stopper]
end

# The latencies of requests, in milliseconds, sorted.
def measure(port, requests)
  Array.new(THREADS) do
    Thread.new do
      Net::HTTP.start("127.0.0.1", port) do |http|
        Array.new(requests / THREADS) do
          begun = Process.clock_gettime(Process::CLOCK_MONOTONIC, :float_millisecond)
          raise "no page" unless http.get("/").code == "200"

          Process.clock_gettime(Process::CLOCK_MONOTONIC, :float_millisecond) - begun
        end
      end
    end
  end.flat_map(&:value).sort
end

def show(name, latencies)
  at = ->(share) { latencies[(latencies.size * share).to_i] }
  puts format("%<name>-28s p50 %<p50>7.3f ms   p99 %<p99>7.3f ms", name: name, p50: at[0.5], p99: at[0.99])
  at[0.99]
end

# Starts the server and Puma. Returns their pids and Puma's port.
def start(folder)
  port = free_port
  binary = %w[release debug].map { |profile| "#{ROOT}/target/#{profile}/nodevent" }.find { |path| File.exist?(path) }
  File.write("#{folder}/config.ru", RACKUP)
  File.write("#{folder}/nodevent.yml", CONFIGURATION)
  into = { %i[out err] => "#{folder}/log", chdir: folder }
  server = Process.spawn(binary, "#{folder}/nodevent.yml", **into)
  wait_for("the server") { File.socket?("#{folder}/nodevent.sock") }
  environment = { "NODEVENT_CONFIG" => "#{folder}/nodevent.yml", "RUBYLIB" => "#{ROOT}/lib",
                  "RAILS_ENV" => "production" }
  command = %W[puma --threads 5:5 --bind tcp://127.0.0.1:#{port} config.ru]
  puma = Process.spawn(environment, *command, **into)
  wait_for("Puma") { responds?(port) }
  [server, puma, port]
end

def responds?(port)
  Net::HTTP.get_response(URI("http://127.0.0.1:#{port}/")).code == "200"
rescue SystemCallError
  false
end

def run(puma, port, count, requests)
  # Everything is loaded then.
  measure(port, requests)
  before = show("without WebSockets", measure(port, requests))
  begun = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  holder, stopper = hold(port, count)
  took = Process.clock_gettime(Process::CLOCK_MONOTONIC) - begun
  during = show("with #{count} WebSockets", measure(port, requests))
  descriptors = Dir.children("/proc/#{puma}/fd").size
  stopper.close
  raise "a WebSocket was closed" unless Process.wait2(holder).last.success?

  sleep 2
  after = show("without WebSockets again", measure(port, requests))
  puts format("opened in %<took>.1f s, %<each>.0f µs each; Puma has %<descriptors>d descriptors",
              took: took, each: took * 1e6 / count, descriptors: descriptors)
  puts format("ratio of p99: %<ratio>.2f", ratio: during / ((before + after) / 2))
end

def main(count, requests)
  Process.setrlimit(:NOFILE, Process.getrlimit(:NOFILE).last)
  Dir.mktmpdir do |folder|
    *pids, port = start(folder)
    run(pids.last, port, count, requests)
  ensure
    pids&.reverse_each do |pid|
      Process.kill(:TERM, pid)
      Process.wait(pid)
    end
  end
end

main(Integer(ARGV[0] || 5000), Integer(ARGV[1] || 4000))
