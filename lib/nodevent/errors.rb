# frozen_string_literal: true

module NoDevent
  # Included in every error of this gem, so that `rescue NoDevent::Error` rescues them all. The message of each is one
  # printable line, whatever names and texts of others it contains.
  module Error
    # @param message [#to_s, nil]
    def initialize(message = nil)
      message.nil? ? super() : super(Text.line(message))
    end
  end

  # The configuration is invalid; the message names the place and what to write.
  class ConfigurationError < StandardError
    include Error
  end

  # The argument does not name a room.
  class InvalidRoomError < ArgumentError
    include Error
  end

  # The argument is not an event name.
  class InvalidEventError < ArgumentError
    include Error
  end

  # A key cannot expire at the given time.
  class InvalidExpiryError < ArgumentError
    include Error
  end

  # The message cannot be converted to JSON.
  class EncodingError < StandardError
    include Error
  end

  # The publication is larger than the server accepts. Counted as `rejected` in {NoDevent.stats}.
  class MessageTooLargeError < StandardError
    include Error

    # @return [Integer] the size of the publication in bytes
    attr_reader :bytes
    # @return [Integer] the limit in bytes
    attr_reader :limit

    def initialize(bytes, limit, what)
      super("#{what} has #{bytes} bytes, more than the limit of #{limit}; send less (an id that the page loads), or " \
            "raise `limits: { max_publish_size: }` of the server and here")
      @bytes = bytes
      @limit = limit
    end
  end

  # A revocation did not reach the engine. Raised by {NoDevent.revoke}.
  class RevokeError < StandardError
    include Error
  end

  # Publications did not reach the engine. Raised only by `emit(…, wait: true)`; otherwise passed to
  # {NoDevent.on_error}.
  class PublishError < StandardError
    include Error

    # @return [Integer] the number of publications affected; 0 if they are queued until the end of an outage
    attr_reader :count

    def initialize(message = nil, count: 1)
      super(message)
      @count = count
    end

    # @api private
    def self.ractor(cause)
      new("NoDevent cannot emit in a Ractor other than the main one (#{cause.class}); send the event to the main " \
          "Ractor and emit there", count: 0)
    end
  end

  # The server did not return what it was asked for: it is unavailable, or refused the request.
  class ServerError < StandardError
    include Error
  end
end
