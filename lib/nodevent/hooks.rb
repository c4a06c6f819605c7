# frozen_string_literal: true

require "json"
require "openssl"

module NoDevent
  # The Rack endpoint that receives the events of the server, and calls the handlers of {NoDevent.on}.
  #
  # @example In config/routes.rb
  #   mount NoDevent::Hooks => "/nodevent/hooks"
  #
  # It returns 204 when all handlers have returned. What a handler raises goes through: the application reports it and
  # returns 500, and the server sends the events again.
  module Hooks
    # The types of events.
    TYPES = %i[connected disconnected entered left delivered].freeze
    # How old a signature may be: a recorded request cannot be replayed for longer.
    #
    # # Units
    # Seconds.
    TOLERANCE = 300
    # The maximum size of a request's body.
    #
    # # Units
    # Bytes.
    MAX_BODY = 16 * 1024 * 1024
    # What {NoDevent.on} has registered.
    Handler = Struct.new(:type, :events, :callable)

    private_constant :MAX_BODY, :Handler

    # A request that is not accepted.
    class Rejected < StandardError
      attr_reader :status

      def initialize(status, message)
        super(message)
        @status = status
      end
    end

    private_constant :Rejected

    @handlers = []

    class << self
      # @api private
      def register(type, events, job, block)
        type = type.to_sym
        raise ArgumentError, "there is no hook `#{type}`; there are #{TYPES.join(', ')}" unless TYPES.include?(type)
        raise ArgumentError, "NoDevent.on needs a block or `job:`" unless job.nil? ^ block.nil?
        raise ArgumentError, "only :delivered has names of events" unless events.empty? || type == :delivered

        callable = block || ->(event) { job.perform_later(event.to_h) }
        # A new Array: another thread may be iterating the old one.
        @handlers += [Handler.new(type, events.map(&:to_s), callable)]
        callable
      end

      # Removes all handlers, for tests and for code that is reloaded.
      # @return [void]
      def clear
        @handlers = []
      end

      # @param env [Hash] Rack's
      # @return [Array] Rack's response
      def call(env)
        namespace, events = read(env)
        events.each { |event| dispatch(HookEvent.new(namespace, event)) }
        [204, {}, []]
      rescue Rejected => e
        Logger.log(:warn, "hooks: a request was rejected: #{e.message}")
        [e.status, { "content-type" => "application/json" }, [JSON.generate(error: e.message)]]
      end

      # Calls the handlers of an event. Tests may call it: `NoDevent::Hooks.dispatch(event)`.
      # @param event [HookEvent]
      # @return [void]
      def dispatch(event)
        @handlers.each do |handler|
          next unless handler.type == event.type
          next unless handler.events.empty? || handler.events.include?(event.event)

          handler.callable.call(event)
        end
      end

      # The value of the header `X-NoDevent-Signature`.
      # @api private
      # @return [String]
      def sign(secret, seconds, body)
        "t=#{seconds},v1=#{OpenSSL::HMAC.hexdigest('SHA256', secret, "#{seconds}.#{body}")}"
      end

      private

      def read(env)
        raise Rejected.new(405, "the method is not POST") unless env["REQUEST_METHOD"] == "POST"

        body = RackInput.read(env, MAX_BODY + 1)
        raise Rejected.new(413, "the request is too large") if body.bytesize > MAX_BODY

        signer = signer(env["HTTP_X_NODEVENT_SIGNATURE"].to_s, body)
        batch = JSON.parse(body)
        # A secret of one namespace does not speak for another.
        raise Rejected.new(401, "the signature is of another namespace") unless batch["namespace"] == signer

        [signer, batch.fetch("events")]
      rescue JSON::ParserError
        raise Rejected.new(400, "the body is not JSON")
      end

      # The namespace whose secret has signed the body.
      def signer(header, body)
        seconds = header[/\At=(\d{1,12}),v1=\h{64}\z/, 1]
        raise Rejected.new(401, "the request has no signature") unless seconds
        raise Rejected.new(401, "the signature is too old") if (Time.now.to_i - seconds.to_i).abs > TOLERANCE

        configured = Namespace.default.config.namespaces.select(&:hooks_secret)
        raise Rejected.new(503, "no `hooks: secret` is configured in the application") if configured.empty?

        found = configured.find { |config| same?(header, sign(config.hooks_secret, seconds, body)) }
        found ? found.namespace : raise(Rejected.new(401, "the signature is wrong"))
      end

      def same?(one, other)
        one.bytesize == other.bytesize && OpenSSL.fixed_length_secure_compare(one, other)
      end
    end
  end
end
