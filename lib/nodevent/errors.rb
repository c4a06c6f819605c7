# frozen_string_literal: true

module NoDevent
  # In every error of this gem, so that `rescue NoDevent::Error` takes them all.
  module Error; end

  # The configuration cannot be used; the message says where it is wrong and what to write.
  class ConfigurationError < StandardError
    include Error
  end

  # What was given as a room names none.
  class InvalidRoomError < ArgumentError
    include Error
  end

  # What was given as an event names none.
  class InvalidEventError < ArgumentError
    include Error
  end

  # A key cannot end at the time that was given.
  class InvalidExpiryError < ArgumentError
    include Error
  end

  # The message cannot be written as JSON.
  class EncodingError < StandardError
    include Error
  end

  # Emissions did not reach the engine. Raised only by `emit(…, wait: true)`; otherwise given to {NoDevent.on_error}.
  class PublishError < StandardError
    include Error

    # @return [Integer] how many emissions this is about; 0 where they still wait for the end of an outage
    attr_reader :count

    def initialize(message = nil, count: 1)
      super(message)
      @count = count
    end
  end
end
