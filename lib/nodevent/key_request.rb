# frozen_string_literal: true

require "json"
require "uri"

module NoDevent
  # What the endpoints have in common at which pages request keys: `POST {"room": "Discussion_12"}`, perhaps with
  # `?namespace=`, returns `{"key": "…"}`, or `{"error": "…", "hint": "…"}` with a status of 4xx.
  # @api private
  module KeyRequest
    # The maximum size of a request's body.
    #
    # # Units
    # Bytes.
    MAX_BODY = 8 * 1024

    private_constant :MAX_BODY

    # A request that is not granted.
    class Rejected < StandardError
      attr_reader :status, :hint

      def initialize(status, message, hint)
        super(message)
        @status = status
        @hint = hint
      end
    end

    private

    # @yieldreturn [Hash] the response
    # @return [Array] Rack's response
    def granted
      respond(200, yield)
    rescue Rejected => e
      respond(e.status, error: e.message, hint: e.hint)
    end

    def room(request)
      sent = json(request, MAX_BODY)
      room = sent["room"] if sent.is_a?(Hash)
      reject(400, "no room", "send {\"room\": \"…\"}") unless room.is_a?(String) || room.is_a?(Integer)
      Room.of(room)
    rescue JSON::ParserError
      reject(400, "the request is not JSON", "send {\"room\": \"…\"}")
    rescue InvalidRoomError => e
      reject(400, e.message, "send the name that the page received")
    end

    def json(request, max_bytes)
      body = RackInput.read(request.env, max_bytes + 1)
      reject(413, "the request is too large", "send at most #{max_bytes} bytes") if body.bytesize > max_bytes
      JSON.parse(body)
    end

    def namespace(request)
      # Not by Rack, which raises errors of several classes for other parameters.
      name = URI.decode_www_form(request.query_string).assoc("namespace")&.last
      name ? NoDevent.namespace(name) : Namespace.default
    rescue ArgumentError
      reject(400, "the query cannot be read", "use the URL that the page received")
    rescue ConfigurationError
      reject(404, "no such namespace", "use the URL that the page received")
    end

    def reject(status, message, hint)
      raise Rejected.new(status, message, hint)
    end

    def respond(status, body)
      [status, { "content-type" => "application/json", "cache-control" => "no-store" }, [JSON.generate(body)]]
    end
  end
end
