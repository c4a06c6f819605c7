# frozen_string_literal: true

require "digest"

module NoDevent
  # The browser page that made the current request. The browser client has an id for its page (`NoDevent.pageId`), which
  # Turbo's requests carry in the header `X-NoDevent-Page`; with `except: :page` that page does not receive an event,
  # because it shows the response to its request already.
  module Page
    # The header, as Rack names it.
    HEADER = "HTTP_X_NODEVENT_PAGE"
    # Set in Rack's environment of a request of a page, and not in that of a template that is rendered elsewhere.
    RENDERS = "nodevent.renders"
    # A valid id.
    ID = /\A[!-~]{1,64}\z/
    CURRENT = FiberLocal.new(:nodevent_page)

    private_constant :ID, :CURRENT

    # Rack middleware that remembers the page of each request. The railtie adds it; elsewhere `use
    # NoDevent::Page::Middleware`.
    class Middleware
      def initialize(app)
        @app = app
      end

      # @param env [Hash] Rack's
      # @return [Array] the response of the application
      def call(env)
        env[RENDERS] = true
        Page.with(env[HEADER]) { @app.call(env) }
      end
    end

    class << self
      # @return [String, nil] the id of the page that made the current request; nil if it did not send one
      def current
        CURRENT.value
      end

      # Runs the block for a request of this page, for example in a job that the request has started.
      # @example
      #   NoDevent::Page.with(page_id) { comment.save! }
      # @param id [String, nil] an invalid id counts as none
      # @return [Object] the block's result
      def with(id, &block)
        CURRENT.with(valid?(id) ? id : nil, &block)
      end

      # @api private
      # @param except [nil, :page, String, #get_header] see {Emitter.emit}
      # @return [String, nil] the hash of the page's id, as `protocol/README.md` section 1 defines it. Members of the
      #   room see it, so it is not the id itself
      # @raise [ArgumentError] if it does not name a page
      def hash_of(except)
        id = id_of(except)
        id && Digest::SHA256.hexdigest(id)[0, 16]
      end

      private

      def id_of(except)
        case except
        when nil then nil
        when :page then current
        when String then valid?(except) ? except : invalid!(except)
        else
          invalid!(except) unless except.respond_to?(:get_header)
          id = except.get_header(HEADER)
          valid?(id) ? id : nil
        end
      end

      def valid?(id)
        id.is_a?(String) && id.ascii_only? && id.match?(ID)
      end

      def invalid!(except)
        raise ArgumentError, "invalid except: #{Text.value(except)}; write `except: :page` (the page that made " \
                             "the current request), a request, or the id that the page sent in X-NoDevent-Page"
      end
    end
  end
end
