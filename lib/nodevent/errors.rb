# frozen_string_literal: true

module NoDevent
  # Included in every error of this gem, so that `rescue NoDevent::Error` rescues them all.
  module Error; end

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
  end
end
