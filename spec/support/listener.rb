# frozen_string_literal: true

require "json"

# Subscribes to channels of a Redis, as a server would.
class Listener
  attr_reader :channels

  def initialize(server, *channels, **options)
    @messages = Queue.new
    ready = Queue.new
    @client = server.client(**options)
    @thread = Thread.new do
      Thread.current.report_on_exception = false
      @client.subscribe(*channels) do |on|
        on.subscribe { |_, count| ready << true if count == channels.size }
        on.message { |channel, text| @messages << [channel, text] }
      end
    end
    Timeout.timeout(Waiting::LIMIT) { ready.pop }
  end

  # The next `[channel, text]`.
  def next
    Timeout.timeout(Waiting::LIMIT) { @messages.pop }
  end

  # The next publication.
  def publication
    JSON.parse(self.next.last)
  end

  # The next `count` texts.
  def take(count)
    Array.new(count) { self.next.last }
  end

  def empty?
    @messages.empty?
  end

  def stop
    @thread.kill
    @client.close
  end
end
