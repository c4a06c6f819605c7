# frozen_string_literal: true

module NoDevent
  class Realtime
    # Included in the requests of Rack and Rails.
    module Request
      # @return [Boolean] whether a page has called this route over its socket, and not with a request of its own
      def socket?
        SignedRequest.verified?(env)
      end

      # @return [String, nil] the container of the view that the page wants instead of the whole response (`container`
      #   of `call-route`); nil if it wants none. It is a text that the visitor chooses: compare it with those that may
      #   be shown
      def socket_container = socket_part("socket_container")

      # @return [String, nil] the partial that the page wants; see {#socket_container}
      def socket_partial = socket_part("socket_partial")

      private

      def socket_part(name)
        return unless socket?

        params[name].then { |part| part if part.is_a?(String) }
      end
    end

    # For applications on Rack: `helpers NoDevent::Realtime::Helpers` in Sinatra. Needs a method `env`, or `request`.
    module Helpers
      # @return [Socket] the visitor's page
      # @raise [ConfigurationError] without the middleware
      def socket
        Realtime.socket(respond_to?(:env) ? env : request.env)
      end
    end
  end
end
