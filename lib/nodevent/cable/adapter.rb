# frozen_string_literal: true

require "action_cable"
require "json"

module NoDevent
  module Cable
    # `adapter: nodevent` in `config/cable.yml`. It publishes what the application broadcasts, and ends connections that
    # the server holds. With `receive: true`, code in Ruby that subscribes to streams receives them too.
    #
    # @example config/cable.yml
    #   production:
    #     adapter: nodevent
    #     namespace: /cable   # the first one with `protocol: action_cable` without it
    #     receive: false      # true if Ruby code subscribes: it needs `publish_key`
    class Adapter < ActionCable::SubscriptionAdapter::Base
      # What the streams begin with by which Rails ends connections.
      INTERNAL = "action_cable/"

      private_constant :INTERNAL

      # @param server [ActionCable::Server::Base]
      def initialize(server)
        super
        @settings = server.config.cable.to_h.transform_keys(&:to_s)
        @lock = Mutex.new
        check
      end

      # Publishes JSON to a stream. It never waits.
      # @param channel [String] the name of the stream
      # @param payload [String] JSON
      # @return see {Emitter.emit}
      # @raise [EncodingError, MessageTooLargeError, InvalidRoomError, ConfigurationError]
      # @raise [RevokeError] if connections are to be ended, and the server does not do it
      def broadcast(channel, payload)
        return namespace.publish_json(channel, EVENT, payload) unless channel.start_with?(INTERNAL)

        namespace.publish_json(channel, EVENT, payload) if receives?
        message = JSON.parse(payload)
        return unless message.is_a?(Hash) && message["type"] == "disconnect"

        reconnect = message.fetch("reconnect", true) != false
        Cable.disconnect(channel.delete_prefix(INTERNAL), reconnect: reconnect, namespace: @settings["namespace"])
      end

      # Receives a stream.
      # @param channel [String]
      # @param message_callback [#call] receives JSON
      # @param success_callback [#call, nil] is called when the server has confirmed it
      # @return [void]
      # @raise [ConfigurationError] without `receive: true`
      def subscribe(channel, message_callback, success_callback = nil)
        raise ConfigurationError, NOT_RECEIVING unless receives?

        receiver.subscribe(channel, message_callback, success_callback)
      end

      # Stops to receive a stream.
      # @param channel [String]
      # @param message_callback [#call] that of {subscribe}
      # @return [void]
      def unsubscribe(channel, message_callback)
        @receiver&.unsubscribe(channel, message_callback)
      end

      # Stops to receive. What was broadcast is still sent.
      # @return [void]
      def shutdown
        receiver = @lock.synchronize { @receiver.tap { @receiver = nil } }
        receiver&.stop
      end

      private

      def namespace
        Cable.namespace_of(@settings["namespace"])
      end

      def receives?
        @settings["receive"] == true
      end

      def receiver
        @receiver || @lock.synchronize do
          require "nodevent/cable/receiver"
          @receiver ||= Receiver.new(namespace.config)
        end
      end

      # What an adapter before had is not an error: the generator keeps it for the way back.
      def check
        receive = @settings["receive"]
        return if [nil, true, false].include?(receive)

        raise ConfigurationError, "config/cable.yml: receive is #{Text.value(receive)}; write true or false"
      end

      NOT_RECEIVING = "config/cable.yml: the application subscribes to a stream in Ruby, but `adapter: nodevent` " \
                      "only publishes; write `receive: true` below it, and `publish_key:` in config/nodevent.yml"

      private_constant :NOT_RECEIVING
    end
  end
end
