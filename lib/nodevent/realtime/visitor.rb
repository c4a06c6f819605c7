# frozen_string_literal: true

module NoDevent
  class Realtime
    # The visitor's page in a controller of Rails, with records: each has a channel of the name of its room. Neither the
    # name nor a key is in the HTML.
    # @example
    #   nodevent.subscribe(@discussion)                          # while the page is rendered
    #   NoDevent::Realtime.push(comment, comment.discussion)     # reaches the pages that have subscribed
    #   nodevent.push("saved", id: draft.id)                     # reaches this visitor's page
    class Visitor
      # @api private
      # @param socket [Socket]
      def initialize(socket)
        @socket = socket
      end

      # Subscribes the page to the channels of records.
      # @param rooms [Array<Object>] see {Room.of}
      # @return see {Socket#subscribe}
      # @raise [InvalidRoomError] if an argument does not name a room
      # @raise see {Socket#subscribe}
      def subscribe(*rooms)
        @socket.subscribe(names(rooms))
      end

      # Unsubscribes the page from the channels of records.
      # @param rooms see {#subscribe}
      # @return see {Socket#unsubscribe}
      # @raise see {#subscribe}
      def unsubscribe(*rooms)
        @socket.unsubscribe(names(rooms))
      end

      # Pushes a message to the page of this visitor, and to no other. In a request that names no page, that is the page
      # which it shows.
      # @param channel [String, Symbol] the channel that the frame names
      # @param message [#to_json]
      # @return see {Realtime.push}
      # @raise see {Realtime.push_message_to_socket_with_key}
      def push(channel, message = nil)
        Realtime.push_message_to_socket_with_key(message, channel, digest)
      end

      # @return [String] names the page for later pushes, for example in a job:
      #   {Realtime.push_message_to_socket_with_key}
      # @raise [ConfigurationError] without a session
      def digest
        @socket.digest
      end

      private

      def names(rooms)
        rooms.flat_map { |room| Targets.list(room) }.map { |room| Room.of(room) }
      end
    end
  end
end
