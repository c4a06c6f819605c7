# frozen_string_literal: true

require "net/http"
require "tempfile"
require "yaml"

# The real server, on a free port.
class NodeventServer
  attr_reader :url, :port, :pid

  def self.binary
    places = %w[debug release].map { |profile| File.join(ROOT, "target", profile, "nodevent") }
    places.find { |path| File.exist?(path) } or raise "the server is not built: rake compile:server"
  end

  # @param settings [Hash] as in config/nodevent.yml
  # @param file [String] a configuration file to use instead
  # @param environment [Hash{String => String}] more variables
  def initialize(settings = {}, port: 0, file: nil, environment: {})
    @file_given = file
    @environment = { "NODEVENT_ENV" => "test" }.merge(environment)
    @settings = { "port" => port, "bind" => "127.0.0.1" }.merge(settings)
    start
  end

  def start
    file = @file_given || write
    @log, into = IO.pipe
    @pid = Process.spawn(@environment, self.class.binary, file, err: into, out: into)
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

  # Restarts it on the same port.
  def restart
    stop
    @settings["port"] = port
    start
  end

  private

  # Stored in an instance variable, because the file is deleted with its object.
  def write
    @file = Tempfile.new(["nodevent", ".yml"])
    @file.write(YAML.dump(@settings))
    @file.close
    @file.path
  end

  def listening
    output = +""
    Timeout.timeout(Waiting::LIMIT) do
      loop do
        line = @log.gets or raise "the server exited: #{output}"
        output << line
        url = line[/listening\b.*?url=(\S+)/, 1]
        return url if url
      end
    end
  end
end
