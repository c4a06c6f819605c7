# frozen_string_literal: true

require "action_cable"
require "json"
require "nodevent/cable/state"

module NoDevent
  module Cable
    # One command of a connection, run with the application's own classes: its connection, and its channel. What they do
    # to the connection is recorded, and returned to the server, which does it.
    # @api private
    class Session
      # What a channel cannot do here.
      class Unsupported < StandardError; end

      # What the server sends itself.
      DECISIONS = ActionCable::INTERNAL[:message_types].values_at(:confirmation, :rejection).freeze

      private_constant :DECISIONS

      # Extends a connection: it has no socket.
      module Connection
        attr_accessor :nodevent

        # @api private
        def transmit(cable_message)
          nodevent.transmit(cable_message)
        end

        # @api private
        def close(reason: nil, reconnect: true) # rubocop:disable Lint/UnusedMethodArgument -- that of Rails
          nodevent.disconnect(reconnect)
        end
      end

      # Extends a channel: the server has its streams.
      module Channel
        # @api private
        def stream_from(broadcasting, callback = nil, coder: nil, &block)
          if callback || block || (coder && coder != ActiveSupport::JSON)
            raise Unsupported, "#{self.class}: stream_from with a block, a callback or a coder cannot work: the " \
                               "server delivers messages without Ruby; transform them before they are broadcast"
          end
          connection.nodevent.start(String(broadcasting))
        end

        # @api private
        def stop_stream_from(broadcasting)
          connection.nodevent.stop(String(broadcasting))
        end

        # @api private
        def stop_all_streams
          connection.nodevent.stop_all
        end

        private

        def start_periodic_timers
          return if self.class.periodic_timers.empty?

          Logger.log(:warn, "#{self.class}: `periodically` does not run: no channel lasts between commands; use a job")
        end

        def stop_periodic_timers; end
      end

      # @return [Array<String>] frames for the client
      attr_reader :transmissions
      # @return [Boolean, nil] whether the client comes back, if the connection ends
      attr_reader :reconnect

      # @param env [Hash] Rack's, of the visitor's connection
      # @param message [Hash] the command
      def initialize(env, message)
        @message = message
        @transmissions = []
        @streams = (message["streams"] || []).dup
        @before = @streams.dup
        @connection = server.config.connection_class.call.new(server, env)
        @connection.extend(Connection)
        @connection.nodevent = self
      end

      # What the application does with a connection, a channel, and a stream.
      def transmit(cable_message)
        return if DECISIONS.include?(cable_message[:type])

        @transmissions << ActiveSupport::JSON.encode(cable_message)
      end

      def start(stream) = (@streams |= [stream])
      def stop(stream) = (@streams -= [stream])
      def stop_all = (@streams = [])
      def disconnect(reconnect) = (@reconnect = reconnect ? true : false)

      # @return [Hash] the reply to `connect`
      def connect
        @connection.connect if @connection.respond_to?(:connect)
        identifier = @connection.connection_identifier
        { status: "ok", connection: dump_connection, notify: @connection.respond_to?(:disconnect),
          rooms: (Cable.rooms_of(identifier) unless identifier.empty?) }.compact
      rescue ActionCable::Connection::Authorization::UnauthorizedError
        { status: "rejected" }
      end

      # @return [Hash] the reply to `subscribe`
      def subscribe
        load_connection
        channel = new_channel or return { status: "rejected" }
        channel.subscribe_to_channel
        return { status: "rejected" } if channel.send(:subscription_rejected?)

        reply(channel).merge(notify: notified?(channel.class))
      end

      # @return [Hash] the reply to `perform`
      def perform
        load_connection
        channel = old_channel or return { status: "rejected" }
        channel.perform_action(ActiveSupport::JSON.decode(@message["data"]))
        status = channel.send(:subscription_rejected?) ? "rejected" : "ok"
        reply(channel).merge(status: status)
      end

      # @return [Hash] the reply to `unsubscribe`
      def unsubscribe
        load_connection
        old_channel&.unsubscribe_from_channel
        { status: "ok", connection: dump_connection }
      end

      # The connection has ended, and with it these subscriptions.
      # @return [Hash] the reply to `disconnect`
      def disconnected
        # What has ended is cleaned up without a record that does not exist any more.
        report { load_connection }
        @message.fetch("subscriptions", []).each do |subscription|
          report { old_channel(subscription)&.unsubscribe_from_channel }
        end
        @connection.disconnect if @connection.respond_to?(:disconnect)
        { status: "ok" }
      end

      # Runs a command within the callbacks of commands, which Rails 7.1 and newer have.
      def within_callbacks(&block)
        @connection.respond_to?(:_command_callbacks) ? @connection.run_callbacks(:command, &block) : yield
      end

      # @return [Boolean] whether a record of the connection could not be found
      def lost_identity?
        @loading ? true : false
      end

      # Reports what the application has raised, as Rails does.
      # @return [Hash] the reply, with what happened before
      def failed(error)
        @connection.rescue_with_handler(error)
        log(error)
        { status: "error" }.merge(changes)
      end

      private

      def server
        ActionCable.server
      end

      def report
        yield
      rescue StandardError => e
        failed(e)
      end

      def log(error)
        trace = error.backtrace&.first(5)&.join(" | ")
        @connection.logger.error("Could not execute command from #{Text.clean(@message['identifier'], 200)} " \
                                 "[#{error.class} - #{Text.clean(error.message)}]: #{Text.clean(trace)}")
      end

      # Only a class of channels, as in Rails.
      def new_channel(subscription = @message)
        identifier = subscription["identifier"]
        options = ActiveSupport::JSON.decode(identifier).with_indifferent_access
        channel = options[:channel].safe_constantize
        unless channel.is_a?(Class) && channel <= ActionCable::Channel::Base
          @connection.logger.error("Subscription class not found: #{Text.value(options[:channel])}")
          return
        end
        channel = channel.new(@connection, identifier, options).extend(Channel)
        @connection.subscriptions.instance_variable_get(:@subscriptions)&.store(identifier, channel)
        channel
      end

      def old_channel(subscription = @message)
        channel = new_channel(subscription) or return
        State.load(channel, channel.class.nodevent_state_names, subscription["state"] || {})
        channel
      end

      def reply(channel)
        { status: "ok", state: State.dump(channel, channel.class.nodevent_state_names), connection: dump_connection }
          .merge(changes)
      end

      def changes
        { start: @streams - @before, stop: @before - @streams }
      end

      def dump_connection
        { "identifiers" => State.dump(@connection, @connection.identifiers),
          "state" => State.dump(@connection, @connection.class.nodevent_state_names) }
      end

      def load_connection
        kept = @message["connection"] || {}
        @loading = true
        State.load(@connection, @connection.class.nodevent_state_names, kept["state"] || {})
        State.load(@connection, @connection.identifiers, kept["identifiers"] || {})
        @loading = false
      end

      # Whether a channel does anything when its subscription ends.
      def notified?(channel)
        return true unless channel.instance_method(:unsubscribed).owner == ActionCable::Channel::Base

        base = ActionCable::Channel::Base._unsubscribe_callbacks.map { |callback| filter(callback) }
        channel._unsubscribe_callbacks.any? { |callback| !base.include?(filter(callback)) }
      end

      def filter(callback)
        callback.respond_to?(:raw_filter) ? callback.raw_filter : callback.filter
      end
    end
  end
end
