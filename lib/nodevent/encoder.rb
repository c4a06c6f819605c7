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
    # The fiber-local variable that is set while a message becomes JSON.
    ENCODING = :nodevent_encoding
    FIBER_LOCAL = FiberLocal.new(ENCODING)
    # A message is one level below the publication, and json accepts 100.
    NESTED = JSON::State.new.tap { |state| state.depth = 1 }.freeze
    MAX_DEPTH = 99
    # json 3 rejects an object with the same name twice, which servers and browsers read. Older versions ignore this.
    REPEATED = { allow_duplicate_key: true }.freeze
    # Classes whose `to_json` is Ruby's, and those of them that contain nothing else.
    SCALARS = [::NilClass, ::TrueClass, ::FalseClass, ::Integer, ::Float, ::String, ::Symbol]
              .to_h { |owner| [owner, true] }.compare_by_identity.freeze
    PLAIN = SCALARS.merge(::Hash => true, ::Array => true).compare_by_identity.freeze

    private_constant :POSITION_BYTES, :ENCODING, :FIBER_LOCAL, :NESTED, :MAX_DEPTH, :REPEATED, :SCALARS, :PLAIN

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
        FIBER_LOCAL.value ? true : false
      end

      # Runs the application's code that builds a message.
      # @return [Object] the block's result
      def encoding(&block)
        FIBER_LOCAL.with(true, &block)
      end

      # The JSON of a message, as it is in the JSON of a Hash that contains it.
      # @param room see {encode}
      # @return [String]
      # @raise [EncodingError]
      def message(room, event, message)
        # Without FiberLocal#with, whose block costs as much as all of this.
        thread = Thread.current
        before = thread[ENCODING]
        thread[ENCODING] = true
        # A `return` out of this would allocate.
        generate(message)
      rescue StandardError, SystemStackError => e
        raise explain(e, room, event)
      ensure
        thread[ENCODING] = before if thread
      end

      # Raises what {message} raises for an error of `to_json`.
      # @raise [EncodingError]
      def reject(error, room, event)
        explained = explain(error, room, event)
        explained.equal?(error) ? raise(error) : raise(explained, cause: error)
      end

      # @return [Boolean] whether what {message} returns may be other text than JSON. Active Support builds JSON from
      #   `as_json` only. Elsewhere an object's `to_json` may return any text
      def unsure?(message)
        !SCALARS.key?(message.class) && !active_support?
      end

      # The publication of a message that {message} has converted.
      # @param room [String]
      # @param event [String]
      # @param json [String]
      # @return [String]
      # @raise [EncodingError, MessageTooLargeError]
      def publication(room, event, json, config, check:)
        text = %({"room":#{room.to_json},"event":#{event.to_json},"message":#{json}})
        if check
          check_json(text, room, event)
          # Raises NestingError, as the JSON of a Hash around the message does.
          JSON.parse(json, max_nesting: MAX_DEPTH, **REPEATED)
        end
        check_size(text, room, event, config)
        text
      rescue StandardError => e
        raise explain(e, room, event)
      end

      # The largest publication, in bytes.
      def limit(config)
        config.history? ? config.max_publish_size - POSITION_BYTES : config.max_publish_size
      end

      # @param room [String] the room, or the targets, for errors
      # @param publication [Hash] with `:event` and `:message`
      # @return [String] the publication
      # @raise [EncodingError, MessageTooLargeError]
      def encode(room, publication, config)
        event, message = publication.values_at(:event, :message)
        json = encoding { publication.to_json }
        check_json(json, room, event) if unsure?(message)
        check_size(json, room, event, config)
        json
      rescue StandardError, SystemStackError => e
        raise explain(e, room, event)
      end

      # @param message [String] JSON
      # @return [String] the publication
      # @raise [EncodingError, MessageTooLargeError]
      def wrap(room, event, message, config)
        # A text that closes the object would add members of its own.
        JSON.parse(message, **REPEATED)
        json = %({"room":#{JSON.generate(room)},"event":"#{event}","message":#{message}})
        check_json(json, room, event)
        check_size(json, room, event, config)
        json
      rescue JSON::ParserError, ::EncodingError
        raise unencodable(room, event, "the message is not JSON")
      end

      # Whether `to_json` is Active Support's, which calls `as_json`. It is never unloaded.
      def active_support?
        @active_support ||= defined?(::ActiveSupport::ToJsonWithActiveSupportEncoder) ? true : false
      end

      private

      def generate(message)
        return ::ActiveSupport::JSON.encode(message) if active_support?

        # Ruby's own need no state, which would be one more object.
        return message.to_json if PLAIN.key?(message.class)

        json = message.to_json(NESTED.dup)
        json.is_a?(::String) ? json : raise(TypeError, "to_json returns an object of the class #{json.class}")
      end

      # The application's own errors stay what they are.
      def explain(error, room, event)
        case error
        when JSON::NestingError
          unencodable(room, event, "it is nested more than 100 deep; select the attributes in as_json, or send an id " \
                                   "that the page loads")
        when JSON::GeneratorError, ::EncodingError
          unencodable(room, event, "#{Text.clean(error.message, 200)}; text must be valid UTF-8 and numbers finite: " \
                                   "clean them, or select the attributes in as_json")
        when SystemStackError
          unencodable(room, event, "it contains itself, or is nested too deeply; select the attributes in as_json")
        else error
        end
      end

      def check_json(json, room, event)
        problem = Native.check(json) or return
        raise unencodable(room, event, "the message's to_json returns invalid JSON: #{problem}")
      end

      def check_size(json, room, event, config)
        limit = limit(config)
        return if json.bytesize <= limit

        Native.count("rejected")
        raise MessageTooLargeError.new(json.bytesize, limit, message_of(event, room))
      end

      def unencodable(room, event, problem)
        EncodingError.new("cannot convert #{message_of(event, room)} to JSON: #{problem}")
      end

      def message_of(event, room)
        "the message of #{Text.value(event.is_a?(Symbol) ? event.name : event)} to #{Text.value(room)}"
      end
    end
  end
end
