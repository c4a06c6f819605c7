# frozen_string_literal: true

require "json"

# A client of Action Cable, frame by frame, which behaves as that of Rails.
class CableClient
  RAILS = "actioncable-v1-json, actioncable-unsupported"

  # @param headers [Hash{String => String}] more headers of the handshake, such as the cookies
  def initialize(port, headers = {}, path: "/cable")
    @socket = WebSocket.new(port, path, { "Sec-WebSocket-Protocol" => RAILS }.merge(headers))
  end

  # A client that was let in.
  def self.welcome(...)
    new(...).tap do |client|
      frame = client.next
      raise "not welcome: #{frame}" unless frame == { "type" => "welcome" }
    end
  end

  # The next frame that is not a ping.
  def next
    loop do
      frame = @socket.receive
      return frame unless frame["type"] == "ping"
    end
  end

  # The next message, without its identifier.
  def message
    frame = self.next
    frame.fetch("message") { raise "not a message: #{frame}" }
  end

  def send(command, identifier, data = nil)
    message = { command: command, identifier: identifier }
    message[:data] = JSON.generate(data) if data
    @socket.send(message)
  end

  # Subscribes. Returns the type of the reply, and what arrived before it.
  def subscribe(identifier)
    send("subscribe", identifier)
    before = []
    loop do
      frame = self.next
      return [frame["type"], before] if frame["type"]&.end_with?("_subscription")

      before << frame["message"]
    end
  end

  def perform(identifier, action, **data)
    send("message", identifier, { action: action, **data })
  end

  # The last frames before the server closes the connection.
  def last_frames
    frames = []
    loop { frames << self.next }
  rescue IOError, SystemCallError
    frames
  end

  # Whether nothing arrives before the reply to a subscription that is made now.
  def silent?(identifier)
    type, before = subscribe(identifier)
    type == "confirm_subscription" && before.empty?
  end

  def close
    @socket.close
  end

  def drop
    @socket.drop
  end
end
