# frozen_string_literal: true

require "json"

module NoDevent
  # Builds the JSON of a publication, and rejects what the server would not deliver: an accepted publication is one that
  # a member of the room can receive.
  # @api private
  module Encoder
    # The maximum of bytes that a history adds to a publication: `,"position":"<16 digits>:<20 digits>"`, rounded up.
    # The limit applies to the result.
    POSITION_BYTES = 64
    # Set while a message becomes JSON.
    ENCODING = FiberLocal.new(:nodevent_encoding)

    private_constant :POSITION_BYTES, :ENCODING

    class << self
      # @return [String] the event's name
      # @raise [InvalidEventError]
      def event_name(event)
        name = event.to_s if event.is_a?(String) || event.is_a?(Symbol)
        unless name.nil? || name.empty?
          name = name.encode(Encoding::UTF_8) unless name.encoding == Encoding::UTF_8
          return name if name.valid_encoding?
        end

        raise InvalidEventError, "invalid event #{Text.value(event)}: must be a non-empty String or Symbol"
      rescue ::EncodingError
        raise InvalidEventError, "invalid event #{Text.value(event)}: cannot be converted to UTF-8"
      end

      # @return [Boolean] whether the current fiber is building a message, which must not contain keys
      def encoding?
        ENCODING.value ? true : false
      end

      # Runs the application's code that builds a message.
      # @return [Object] the block's result
      def encoding(&block)
        ENCODING.with(true, &block)
      end

      # @param room [String] the room, or the targets, for errors
      # @param publication [Hash] with `:event` and `:message`
      # @return [String] the publication
      # @raise [EncodingError, MessageTooLargeError]
      def encode(room, publication, config)
        event, message = publication.values_at(:event, :message)
        json = encoding { publication.to_json }
        check_json(json, room, event) unless always_valid?(message)
        check_size(json, room, event, config)
        json
      rescue JSON::NestingError
        raise unencodable(room, event, "it is nested more than 100 deep; select the attributes in as_json, or send " \
                                       "an id that the page loads")
      rescue JSON::GeneratorError, ::EncodingError => e
        raise unencodable(room, event, "#{Text.clean(e.message, 200)}; text must be valid UTF-8 and numbers finite: " \
                                       "clean them, or select the attributes in as_json")
      rescue SystemStackError
        raise unencodable(room, event, "it contains itself, or is nested too deeply; select the attributes in as_json")
      end

      # @param message [String] JSON
      # @return [String] the publication
      # @raise [EncodingError, MessageTooLargeError]
      def wrap(room, event, message, config)
        # A text that closes the object would add members of its own.
        JSON.parse(message)
        json = %({"room":#{JSON.generate(room)},"event":"#{event}","message":#{message}})
        check_json(json, room, event)
        check_size(json, room, event, config)
        json
      rescue JSON::ParserError, ::EncodingError
        raise unencodable(room, event, "the message is not JSON")
      end

      private

      # Active Support builds JSON from `as_json` only. Elsewhere an object's `to_json` may return any text.
      def always_valid?(message)
        case message
        when nil, true, false, Numeric, String, Symbol then true
        else defined?(ActiveSupport::JSON::Encoding) ? true : false
        end
      end

      def check_json(json, room, event)
        problem = Native.check(json) or return
        raise unencodable(room, event, "the message's to_json returns invalid JSON: #{problem}")
      end

      def check_size(json, room, event, config)
        limit = config.max_publish_size
        limit -= POSITION_BYTES if config.history?
        return if json.bytesize <= limit

        Native.count("rejected")
        raise MessageTooLargeError.new(json.bytesize, limit, message_of(event, room))
      end

      def unencodable(room, event, problem)
        EncodingError.new("cannot convert #{message_of(event, room)} to JSON: #{problem}")
      end

      def message_of(event, room)
        "the message of #{Text.value(event)} to #{Text.value(room)}"
      end
    end
  end
end
