# frozen_string_literal: true

require "tempfile"
require "tmpdir"

# The server with a Unix socket for hand-overs, and an application under Puma that hands connections over to it.
class HandoverApp
  PATH = "/nodevent/socket.io/?EIO=4&transport=websocket"
  RACKUP = <<~'RUBY'
    require "nodevent"
    NoDevent.identify { |request| request.params["user"] && { user: request.params["user"], rooms: ["team"] } }
    map("/nodevent") { run NoDevent::Server }
    BARRIER = Queue.new
    run(lambda do |env|
      next [200, {}, [Process.pid.to_s]] unless env["PATH_INFO"] == "/barrier"

      # Responds when as many requests are inside as the query says.
      BARRIER << 1
      limit = Time.now + 60
      sleep 0.01 until BARRIER.size >= env["QUERY_STRING"].to_i || Time.now > limit
      [200, {}, [BARRIER.size.to_s]]
    end)
  RUBY

  attr_reader :server, :puma, :socket

  # @param settings [Hash] of the namespace
  # @param more [Hash] other settings of the server
  # @param options [Hash] of {PumaServer}
  def initialize(settings: { "open" => true }, rackup: RACKUP, more: {}, **options)
    @folder = Dir.mktmpdir
    @socket = File.join(@folder, "nodevent.sock")
    @rackup = rackup
    own = { "handover_socket" => @socket, "publish" => "local", "/nodevent" => settings }
    @server = NodeventServer.new(own.merge(more))
    @file = Tempfile.new(["application", ".yml"])
    own = { "handover_socket" => @socket, "public_url" => @server.url, "/nodevent" => settings }
    File.write(@file.path, YAML.dump(own))
    start(**options)
  end

  def start(**options)
    @puma = PumaServer.new(@rackup, env: { "NODEVENT_CONFIG" => @file.path }, **options)
  end

  # A WebSocket through Puma, that has entered the namespace.
  def websocket(query = "", **options)
    WebSocket.new(options.delete(:at) || puma.port, "#{PATH}#{query}", **options).tap do |socket|
      raise "no open packet" unless socket.next_text.start_with?("0{")

      socket.send("40/nodevent,")
      raise "not entered" unless socket.next_text.start_with?("40/nodevent,")
    end
  end

  # Publishes through the server's own address.
  def emit(message, target = { "room" => "r" })
    body = JSON.generate(target.merge("event" => "e", "message" => message))
    response = Net::HTTP.post(URI("#{server.url}/api/nodevent/emit"), body, "Content-Type" => "application/json")
    raise response.body unless response.code == "200"
  end

  def stop
    @puma&.stop
    @server&.stop
    FileUtils.rm_rf(@folder)
  end
end
