# frozen_string_literal: true

require "net/http"
require "tempfile"
require "yaml"

# The server's own binary, on a port of its own.
class NodeventServer
  attr_reader :url, :port, :pid

  def self.binary
    places = %w[debug release].map { |profile| File.join(ROOT, "target", profile, "nodevent") }
    places.find { |path| File.exist?(path) } or raise "the server is not built: rake compile:server"
  end

  # @param settings [Hash] as in config/nodevent.yml
  # @param file [String] a configuration of its own, instead
  def initialize(settings = {}, port: 0, file: nil)
    @given = file
    @settings = { "port" => port, "host" => "127.0.0.1" }.merge(settings)
    start
  end

  def start
    file = @given || write
    @log, into = IO.pipe
    @pid = Process.spawn({ "NODEVENT_ENV" => "test" }, self.class.binary, file, err: into, out: into)
    into.close
    @url = listening
    @port = URI(@url).port
    @drain = Thread.new { @log.each_line { |line| line } }
  end

  def stop
    Process.kill(:KILL, pid)
    Process.wait(pid)
    @drain.join
  end

  # Stops it and starts it again on the same port.
  def restart
    stop
    @settings["port"] = port
    start
  end

  private

  # Kept, because the file goes with its object.
  def write
    @file = Tempfile.new(["nodevent", ".yml"])
    @file.write(YAML.dump(@settings))
    @file.close
    @file.path
  end

  def listening
    said = +""
    Timeout.timeout(Patience::LIMIT) do
      loop do
        line = @log.gets or raise "the server ended: #{said}"
        said << line
        found = line[/listening\b.*?url=(\S+)/, 1]
        return found if found
      end
    end
  end
end
