# frozen_string_literal: true

require "nodevent/key_request"

module NoDevent
  # The Rack endpoint at which pages request keys: before a key expires, and for rooms whose key is not in the page.
  # Rails mounts it at {PATH} if {NoDevent.authorize} was called; elsewhere `map NoDevent::KeyEndpoint::PATH`.
  #
  # `POST {"room": "Discussion_12"}` returns `{"key": "…"}`, or `{"error": "…", "hint": "…"}` with a status of 4xx.
  module KeyEndpoint
    # The path in the application.
    PATH = "/nodevent/key"
    # An origin of a page; the group is its host.
    ORIGIN = %r{\Ahttps?://(\[[^\]]*\]|[^:/]+)(?::\d+)?\z}

    private_constant :ORIGIN

    class << self
      include KeyRequest

      # @api private
      attr_reader :authorizer

      # @api private
      def configure(expires_after, authorizer)
        @expires_after = Float(expires_after)
        @authorizer = authorizer
        @warned = nil
      end

      # @return [Boolean] whether {NoDevent.authorize} was called
      def configured?
        !@authorizer.nil?
      end

      # @api private
      # @param namespace [Namespace]
      # @return [String, nil] the URL for pages of the application
      def url(namespace = Namespace.default)
        return unless configured?

        root = defined?(Rails.application) && Rails.application ? Rails.application.config.relative_url_root : nil
        query = "?namespace=#{CGI.escape(namespace.name)}" unless namespace.name == Namespace.default.name
        "#{root}#{PATH}#{query}"
      end

      # @param env [Hash] Rack's
      # @return [Array] Rack's response
      def call(env)
        granted { { key: key(RackRequest.of(env)) } }
      end

      private

      def key(request)
        reject(404, "no authorizer", "call NoDevent.authorize in the application") unless configured?
        reject(405, "method not allowed", "use POST") unless request.post?
        check_origin(request)
        # Frozen: what the authorizer has checked is what is signed.
        room = room(request).dup.freeze
        namespace = namespace(request)
        unless authorized?(room, request, namespace.name.dup.freeze)
          reject(403, "not authorized to join #{room}", "sign in, or see NoDevent.authorize in the application")
        end

        namespace.room_key(room, Time.now + @expires_after)
      end

      # The page chooses the namespace. A block that does not receive it decides about the default namespace only.
      def authorized?(room, request, namespace)
        return @authorizer.call(room, request, namespace) if receives_namespace?
        return @authorizer.call(room, request) if namespace == Namespace.default.name

        warn_of_namespace(namespace)
        reject(403, "not authorized to join rooms of #{namespace}", "see NoDevent.authorize in the application")
      end

      def receives_namespace?
        kinds = @authorizer.parameters.map(&:first)
        kinds.include?(:rest) || kinds.count { |kind| %i[req opt].include?(kind) } >= 3
      end

      # Once: pages request keys again and again.
      def warn_of_namespace(namespace)
        return if @warned

        @warned = true
        Logger.log(:warn, "no key for #{namespace}, because the block of NoDevent.authorize does not " \
                          "receive the namespace; write NoDevent.authorize { |room, request, namespace| … }")
      end

      # Browsers send their origin with every POST. Another site's page could not read the response, but it should not
      # make the authorizer run either. Only the host counts, as for the server: a proxy may hide scheme and port.
      def check_origin(request)
        origin = request.get_header("HTTP_ORIGIN").to_s
        return if origin.empty? || origin[ORIGIN, 1]&.casecmp?(request.host)

        reject(403, "the request is from another origin", "request keys from pages of this application")
      end
    end
  end
end
