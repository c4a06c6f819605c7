# frozen_string_literal: true

module NoDevent
  class Realtime
    # The visitor's page, as the application sees it in a request: it subscribes the page to channels, and pushes to
    # them. Channels are Strings or Symbols, one by one or in Arrays; a Symbol and its String are the same channel.
    # @example
    #   socket.subscribe(:chat, "news")
    #   socket.push({ text: params[:text] }, :chat)
    class Socket
      # @api private
      # @param identity [Identity]
      def initialize(identity)
        @identity = identity
      end

      # @return [String] the id of the page: the one that the request names, or that of the page which it will show
      def connection_id
        @identity.connection_id
      end

      # @return [String] names the page for {#push_message_to_socket_with_key}; it is no secret of the visitor
      # @raise [ConfigurationError] without a session
      def digest
        @identity.digest
      end

      # @return [String] a channel, or room, for all pages of this visitor's session that are subscribed to it
      # @raise [ConfigurationError] without a session
      def visitor
        @identity.visitor
      end

      # Subscribes the page to channels, before it connects or after. Returns when every later push will arrive.
      # @param channels [Array<String, Symbol>]
      # @return [true, false, nil] `false` if the server is unavailable, which is reported to {NoDevent.on_error}: a
      #   page without live updates is better than none. `nil` if `realtime.enabled` is false
      # @raise [ArgumentError] without a channel, or if one is not a name
      # @raise [ServerError] if the server refuses
      # @raise [ConfigurationError]
      def subscribe(*channels)
        names = Channels.literal(channels, "subscribe")
        return unless Realtime.enabled?

        Delivery.change(digest, subscribe: names)
        true
      rescue Delivery::Unavailable => e
        ErrorReporter.report(e)
        false
      end

      # Unsubscribes the page from channels. Nothing that is pushed afterwards arrives.
      # @param channels [Array<String, Symbol>]
      # @return [true, nil] `nil` if `realtime.enabled` is false
      # @raise [ArgumentError] without a channel, or if one is not a name
      # @raise [ServerError] if the server is unavailable, or refuses: the page may still be subscribed
      # @raise [ConfigurationError]
      def unsubscribe(*channels)
        names = Channels.literal(channels, "unsubscribe")
        return unless Realtime.enabled?

        Delivery.change(digest, unsubscribe: names)
        true
      end

      # Pushes a message to all pages that have subscribed to one of the channels; see {Realtime.push}.
      # @param message see {Realtime.push}
      # @param channels see {Realtime.push}
      # @return see {Realtime.push}
      # @raise see {Realtime.push}
      def push(message, *channels)
        Realtime.push(message, *channels)
      end

      # Pushes a message to one page; see {Realtime.push_message_to_socket_with_key}.
      # @param message see {Realtime.push_message_to_socket_with_key}
      # @param channel see {Realtime.push_message_to_socket_with_key}
      # @param digest see {Realtime.push_message_to_socket_with_key}
      # @return see {Realtime.push_message_to_socket_with_key}
      # @raise see {Realtime.push_message_to_socket_with_key}
      def push_message_to_socket_with_key(message, channel, digest)
        Realtime.push_message_to_socket_with_key(message, channel, digest)
      end

      # Without the key of the session.
      def inspect
        "#<#{self.class}>"
      end
    end
  end
end
