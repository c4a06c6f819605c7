# frozen_string_literal: true

module NoDevent
  class Realtime
    # The names of channels, as applications write them: texts and Symbols, one by one or in Arrays. A record has the
    # channel of the name of its room.
    # @api private
    module Channels
      # The server's limit for a name, and for the number of names in one request.
      #
      # # Units
      # Bytes; names.
      MAX_BYTES = 248
      MAX = 128
      # The room of a channel has this prefix with the protocol `pakyow`, so that channels and rooms are never confused.
      ROOM_PREFIX = "pakyow:"

      class << self
        # @param channels [Array] nested as the application likes
        # @param method [String] who needs them, for the error
        # @return [Array<String>] the names, each once
        # @raise [ArgumentError] if there is none, or one that is not a name
        def names(channels, method)
          names = channels.flatten.map { |channel| name(channel, method) }.uniq
          raise ArgumentError, "#{method} needs a channel: `socket.#{method}(…, :chan1)`" if names.empty?
          raise ArgumentError, "#{method}: #{names.size} channels at once; the limit is #{MAX}" if names.size > MAX

          names
        end

        # @param channels see {names}
        # @param method see {names}
        # @return [Array<String>] the names of channels to subscribe to, which are not patterns
        # @raise [ArgumentError] see {names}
        def literal(channels, method)
          names(channels, method).each do |name|
            next unless pattern?(name)

            raise ArgumentError, "#{method}: #{Text.value(name)} contains `*`, which only `push` understands"
          end
        end

        # @return [Boolean] whether the name matches several channels
        def pattern?(name) = name.include?("*")

        # @return [String] the name of the room in which the members of a channel are: with other protocols than
        #   `pakyow`, that of the channel. Recorders of tests recognize pushes by the prefix
        def room(name)
          pages = Realtime.settings.config.pages
          pages.nil? || pages.channels? || Publisher.custom.respond_to?(:realtime) ? "#{ROOM_PREFIX}#{name}" : name
        end

        private

        def name(channel, method)
          channel = Room.of(channel) if channel.is_a?(Base)
          unless channel.is_a?(String) || channel.is_a?(Symbol)
            raise ArgumentError, "#{method}: #{Text.value(channel)} is not a channel; write a String or a Symbol"
          end

          name = channel.to_s.encode(Encoding::UTF_8)
          return name if name.valid_encoding? && name.bytesize.between?(1, MAX_BYTES) && !name.match?(/[[:cntrl:]]/)

          raise ArgumentError, "#{method}: #{Text.value(name)} is not a channel; a name has 1 to #{MAX_BYTES} bytes " \
                               "of UTF-8 and no control characters"
        rescue ::EncodingError
          raise ArgumentError, "#{method}: #{Text.value(channel)} is not a channel; it cannot be converted to UTF-8"
        end
      end
    end
  end
end
