# frozen_string_literal: true

module NoDevent
  class Realtime
    # Included in the requests of Rack and Rails.
    module Request
      # @return [Boolean] whether a page has called this route over its socket, and not with a request of its own
      def socket?
        SignedRequest.verified?(env)
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
