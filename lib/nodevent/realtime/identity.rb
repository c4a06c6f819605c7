# frozen_string_literal: true

require "digest"
require "securerandom"

module NoDevent
  class Realtime
    # Which page a request belongs to. The session has a key, each page an id, and both together make the digest, by
    # which the server knows the page. The key comes from the session and from nothing else.
    # @api private
    class Identity
      # The key's name in the session.
      SESSION = :socket_key
      # The parameter and the header with which a page names itself in later requests.
      PARAMETER = "socket_connection_id"
      HEADER = "HTTP_X_SOCKET_CONNECTION_ID"
      # A key, and an id.
      FORM = /\A[0-9a-f]{64}\z/
      FORM_TYPE = %r{\A(?:application/x-www-form-urlencoded|multipart/form-data)\b}i

      # The digits of an id that are the same for a session. The browser client compares them.
      SESSION_DIGITS = 8

      private_constant :FORM, :FORM_TYPE, :SESSION_DIGITS

      class << self
        # @return [String] the name of a page for the server
        def digest(key, connection_id)
          Digest::SHA1.hexdigest("--#{key}--#{connection_id}--")
        end

        # @return [Boolean] whether the text is a key or an id
        def valid?(text)
          text.is_a?(String) && text.ascii_only? && text.match?(FORM)
        end
      end

      # @param env [Hash] Rack's
      def initialize(env)
        @env = env
      end

      # @return [String] the session's key, which is created if there is none
      # @raise [ConfigurationError] if there is no session
      def key
        stored = session[SESSION]
        return stored if self.class.valid?(stored)

        SecureRandom.hex(32).tap { |created| session[SESSION] = created }
      end

      # @return [String, nil] the key of a session that the application has read or changed, and an empty text if it has
      #   none any more; nil if the session was not read
      def loaded_key
        session = @env["rack.session"] or return
        return if session.respond_to?(:loaded?) && !session.loaded?

        stored = session[SESSION]
        self.class.valid?(stored) ? stored : ""
      end

      # @return [String] the id that the request names, or a new one. New ids of one session begin alike: a page that
      #   Turbo has loaded into an open connection sees whether that has the cookie of its session. A hash of the key
      #   does not show it
      def connection_id
        # Not before the application has read the parameters, and then the same for the whole request.
        @connection_id ||= named_id || "#{session_part}#{SecureRandom.hex(32 - (SESSION_DIGITS / 2))}"
      end

      # @return [String]
      def digest
        self.class.digest(key, connection_id)
      end

      # @return [String] the name of all pages of the session. It shows nothing of the key, and cannot be guessed
      def visitor
        "visitor:#{Digest::SHA256.hexdigest("nodevent:visitor:#{key}")[0, 40]}"
      end

      # @return [#[]] the session
      # @raise [ConfigurationError]
      def session
        @env["rack.session"] or
          raise ConfigurationError, "NoDevent::Realtime needs a session; write `use Rack::Session::Cookie, secret: " \
                                    "…` before `use NoDevent::Realtime`"
      end

      private

      # Without a session, or without pages that the server knows, every id is one of its own.
      def session_part
        has_pages = @env["rack.session"] && Realtime.settings.config_of_pages&.pages
        return SecureRandom.hex(SESSION_DIGITS / 2) unless has_pages

        Digest::SHA256.hexdigest("nodevent:session:#{key}")[0, SESSION_DIGITS]
      end

      def named_id
        sources = [method(:id_of_call), method(:id_of_query), method(:id_of_form), method(:id_of_json),
                   method(:id_of_header)]
        sources.lazy.map(&:call).find { |id| self.class.valid?(id) }
      end

      # What the server says about the page that calls a route.
      def id_of_call
        @env[SignedRequest::CONNECTION] if SignedRequest.verified?(@env)
      end

      def id_of_query
        return unless @env["QUERY_STRING"].to_s.include?(PARAMETER)

        parameters(:GET)
      end

      def id_of_form
        parameters(:POST) if @env["CONTENT_TYPE"].to_s.match?(FORM_TYPE) && @env["REQUEST_METHOD"] != "GET"
      end

      # Rails has read it already, if the application has.
      def id_of_json
        parameters = @env["action_dispatch.request.request_parameters"]
        parameters[PARAMETER] if parameters.respond_to?(:key?) && parameters.key?(PARAMETER)
      end

      def id_of_header
        @env[HEADER]
      end

      # Rack raises errors of many classes for parameters that cannot be read. The application decides what they mean.
      def parameters(method)
        Rack::Request.new(@env).public_send(method)[PARAMETER]
      rescue StandardError
        nil
      end
    end
  end
end
