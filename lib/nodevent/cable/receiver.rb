# frozen_string_literal: true

require "json"
require "monitor"
require "nodevent/cable/dial"
require "openssl"
require "uri"
require "websocket/driver"

module NoDevent
  module Cable
    # Receives streams from the server over one WebSocket, for code in Ruby. It is a client of Action Cable that
    # presents the publish key, and so may subscribe to every stream. After a lost connection it receives what it
    # missed.
    #
    # Callbacks run one after another on the thread of the connection, so messages of a stream stay in order.
    # @api private
    class Receiver
      # Seconds without any frame after which the connection counts as lost. The server sends a ping every 3 s.
      STALE = 12
      # Seconds between attempts: the first, and the maximum.
      PAUSES = (0.2..10.0)

      # A stream: who receives it, who waits for its confirmation, and up to where it has arrived.
      Stream = Struct.new(:callbacks, :waiting, :confirmed, :position)

      private_constant :STALE, :PAUSES, :Stream

      # @return [String] the address, for websocket-driver
      attr_reader :url

      # @param config [Configuration]
      # @raise [ConfigurationError] without the address of the server, or a publish key
      def initialize(config)
        base = config.url || config.public_url
        @url = "#{base.sub(/\Ahttp/, 'ws')}#{config.cable_path}?pi=3"
        @key = config.publish_key or raise ConfigurationError, NO_KEY
        @max_length = config.max_publish_size + 65_536
        @lock = Monitor.new
        @wakeup = @lock.new_cond
        @streams = {}
      end

      # @return [void]
      def subscribe(name, callback, success)
        @lock.synchronize do
          stream = @streams[name] ||= Stream.new([], [], false, nil).tap { command("subscribe", name) }
          stream.callbacks += [callback]
          stream.waiting += [success] if success && !stream.confirmed
          success = nil unless stream.confirmed
          start
        end
        success&.call
      end

      # @return [void]
      def unsubscribe(name, callback)
        @lock.synchronize do
          stream = @streams[name] or return
          stream.callbacks -= [callback]
          return if stream.callbacks.any?

          @streams.delete(name)
          command("unsubscribe", name)
        end
      end

      # Ends the connection and its thread.
      # @return [void]
      def stop
        thread = @lock.synchronize do
          @stopped = true
          @wakeup.broadcast
          close
          @thread
        end
        thread.join unless thread.nil? || thread == Thread.current
      end

      # Called by websocket-driver.
      def write(data)
        @io.write(data)
      end

      # Without the key.
      def inspect
        "#<#{self.class} #{@url}>"
      end

      private

      # Also in a process that was forked from the one with the thread.
      def start
        return if @stopped || @thread&.alive?

        @thread = Thread.new { run }
        @thread.name = "nodevent receiver"
      end

      def run
        pause = PAUSES.begin
        until @stopped
          begin
            connect
            read { pause = PAUSES.begin }
          rescue StandardError => e
            report(e)
          end
          @lock.synchronize do
            close
            @wakeup.wait(pause * (1 + rand)) unless @stopped
          end
          pause = [pause * 2, PAUSES.end].min
        end
      end

      def report(error)
        return if @stopped

        Logger.log(:warn, "streams are not received: #{error.message} (#{error.class}); trying again")
      end

      def connect
        io = Dial.open(URI(@url))
        @lock.synchronize do
          raise IOError, "stopped" if @stopped

          @io = io
          @driver = driver
          @driver.start
        end
      end

      def driver
        driver = WebSocket::Driver.client(self, protocols: ["actioncable-v1-ext-json"], max_length: @max_length)
        driver.set_header("Authorization", "Bearer #{@key}")
        driver.on(:message) { |event| @received << event.data }
        driver.on(:error) { |event| @failure = event.message }
        driver.on(:close) { |event| @failure ||= "the server has closed the connection (#{event.code})" }
        driver
      end

      # Reads until the connection is lost. Yields when the server has accepted it.
      def read(&welcomed)
        @failure = nil
        until @failure
          readable = (@io.respond_to?(:pending) && @io.pending.positive?) || @io.to_io.wait_readable(STALE)
          raise IOError, "nothing arrived for #{STALE} s" unless readable

          data = @io.readpartial(65_536)
          received = @lock.synchronize do
            @received = []
            @driver.parse(data)
            @received
          end
          received.each { |text| on_frame(JSON.parse(text), &welcomed) }
        end
        raise IOError, @failure
      end

      def on_frame(frame)
        case frame["type"]
        when "welcome"
          yield
          @lock.synchronize do
            @welcomed = true
            resubscribe
          end
        when "ping" then @lock.synchronize { resubscribe }
        when "confirm_subscription" then on_confirmed(stream_of(frame))
        when "reject_subscription" then on_rejected(stream_of(frame))
        when "reject_history" then on_gap(stream_of(frame))
        when "disconnect" then raise IOError, "the server says #{Text.value(frame['reason'])}"
        when nil then on_message(stream_of(frame), frame)
        end
      end

      # The server does not reply to a command that comes too fast.
      def resubscribe
        @streams.each { |name, stream| command("subscribe", name) unless stream.confirmed }
      end

      def on_confirmed(name)
        waiting = @lock.synchronize do
          stream = @streams[name] or return
          stream.confirmed = true
          stream.waiting.tap { stream.waiting = [] }
        end
        waiting.each { |success| call(success) }
      end

      def on_rejected(name)
        Logger.log(:error, "the server rejects the stream #{Text.value(name)}; check `publish_key` in " \
                           "config/nodevent.yml: it must be one of the server's, without limits")
      end

      def on_gap(name)
        Logger.log(:warn, "messages of the stream #{Text.value(name)} are missing: its history does not have them")
      end

      def on_message(name, frame)
        callbacks = @lock.synchronize do
          stream = @streams[name] or return
          stream.position = frame.slice("epoch", "offset") if frame["epoch"]
          stream.callbacks
        end
        json = JSON.generate(frame["message"])
        callbacks.each { |callback| call(callback, json) }
      end

      # A callback that fails does not end the connection.
      def call(callback, *arguments)
        callback.call(*arguments)
      rescue StandardError => e
        Logger.log(:error, "a subscriber has failed: #{e.message} (#{e.class})")
      end

      def stream_of(frame)
        JSON.parse(frame["identifier"])["stream_name"]
      end

      def command(name, stream)
        return unless @welcomed

        history = @streams[stream]&.position
        command = { command: name, identifier: JSON.generate(channel: "$pubsub", stream_name: stream) }
        command[:history] = { streams: { stream => history } } if history && name == "subscribe"
        @driver.text(JSON.generate(command))
      rescue SystemCallError, IOError, OpenSSL::SSL::SSLError
        # The thread notices it, and subscribes again.
        close
      end

      def close
        @welcomed = false
        @streams.each_value { |stream| stream.confirmed = false }
        @io&.close
      rescue SystemCallError, IOError, OpenSSL::SSL::SSLError
        nil
      end

      NO_KEY = "`receive: true` in config/cable.yml needs `publish_key:` in config/nodevent.yml, for the gem and the " \
               "server: with it the application subscribes to every stream"

      private_constant :NO_KEY
    end
  end
end
