# frozen_string_literal: true

module NoDevent
  class Realtime
    # For controllers of Rails: the visitor's page, and the protection from forgery of what a page calls over its
    # socket. The railtie includes it with `config.nodevent.realtime = true`.
    module Controller
      # What a page calls over its socket has the visitor's cookies and no token. The server has checked the origin of
      # the page and has signed the request, which no other site can do: the signature takes the place of the token.
      # Everything else is verified as before.
      module Forgery
        private

        def verified_request?
          request.socket? || super
        end

        # Another site cannot include the response to a signed request as a script.
        def non_xhr_javascript_response?
          super && !request.socket?
        end
      end

      # @param controller [Class]
      def self.included(controller)
        controller.prepend(Forgery)
      end

      private

      # @return [Socket] the visitor's page, with the methods of pakyow-realtime
      def socket
        Realtime.socket(request.env)
      end

      # @return [Visitor] the visitor's page, with rooms instead of channels
      def nodevent
        @nodevent ||= Visitor.new(socket)
      end
    end
  end
end
