# frozen_string_literal: true

module NoDevent
  class Realtime
    # The visitor's page in a controller of Rails, with records. The page is in their rooms, and no key is in the HTML.
    # With `protocol: pakyow`, each record has a channel of the name of its room instead.
    # @example
    #   nodevent.subscribe(@discussion)                          # while the page is rendered
    #   @discussion.emit("update", title: "News")                # reaches the pages that have subscribed
    #   NoDevent::Realtime.push(comment, comment.discussion)     # the same for channels
    #   nodevent.push("saved", id: draft.id)                     # reaches this visitor's page
    # @example all pages of the visitor
    #   nodevent.subscribe(@discussion, nodevent.visitor)
    #   NoDevent::Emitter.emit(nodevent.visitor, "signed_in", name: user.name)
    class Visitor
      # @api private
      # @param socket [Socket]
      def initialize(socket)
        @socket = socket
      end

      # Subscribes the page to the rooms of records, or to their channels.
      # @param rooms [Array<Object>] see {Room.of}
      # @return see {Socket#subscribe}
      # @raise [InvalidRoomError] if an argument does not name a room
      # @raise see {Socket#subscribe}
      def subscribe(*rooms)
        @socket.subscribe(names(rooms))
      end

      # Unsubscribes the page from the rooms of records, or from their channels.
      # @param rooms see {#subscribe}
      # @return see {Socket#unsubscribe}
      # @raise see {#subscribe}
      def unsubscribe(*rooms)
        @socket.unsubscribe(names(rooms))
      end

      # Pushes a message to the page of this visitor, and to no other. In a request that names no page, that is the page
      # which it shows.
      # @param channel [String, Symbol] the event, or the channel that the frame names
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

      # @return [String] the name of a room for all pages of this visitor's session that are subscribed to it
      # @raise [ConfigurationError] without a session
      def visitor
        @socket.visitor
      end

      private

      def names(rooms)
        rooms.flat_map { |room| Targets.list(room) }.map { |room| Room.of(room) }
      end
    end
  end
end
