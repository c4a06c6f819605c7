# frozen_string_literal: true

require "nodevent/realtime/body_tag"

module NoDevent
  class Realtime
    # Writes the connection id into the body tag of a complete HTML page. Every other response passes unchanged: one
    # that is streamed, compressed, empty, a part, a download, a file, or not HTML. Below the middleware; knows Rack
    # only.
    # @api private
    class PageResponse
      # The name of the attribute.
      ATTRIBUTE = "data-socket-connection-id"
      HTML = %r{\Atext/html(?:\s*;|\s*\z)}i
      # A page belongs to one visitor and one view: it is neither shared nor shown again.
      CACHE_CONTROL = "private, no-store"
      # These statuses have no body, or one that is a part of another.
      WITHOUT_PAGE = [204, 205, 206, 304].freeze

      private_constant :HTML, :CACHE_CONTROL, :WITHOUT_PAGE

      # @param env [Hash] Rack's
      # @param response [Array] Rack's
      def initialize(env, response)
        @env = env
        @status, @headers, @body = response
      end

      # @return [Boolean] whether {#with_id} has written the id
      def identified?
        @identified ? true : false
      end

      # @yieldreturn [String] the id, called only if there is a body tag
      # @return [Array] Rack's response
      def with_id
        return unchanged unless page? && (parts = parts_of(@body))

        html = parts.map(&:b).join
        offset = BodyTag.offset(html)
        return replace(parts) unless offset

        attribute = %( #{ATTRIBUTE}="#{yield}")
        html.insert(offset, attribute)
        @identified = true
        change_headers(attribute.bytesize)
        replace([html.force_encoding(parts.first.encoding)])
      end

      private

      def unchanged
        [@status, @headers, @body]
      end

      # The old body is closed, because it is read already.
      def replace(parts)
        @body.close if @body.respond_to?(:close)
        [@status, @headers, parts]
      end

      def page?
        @status.to_i >= 200 && !WITHOUT_PAGE.include?(@status.to_i) && @env["REQUEST_METHOD"] != "HEAD" &&
          HTML.match?(header("content-type").to_s) && !encoded? && !download? && !header("content-range")
      end

      def encoded?
        encoding = header("content-encoding")
        !encoding.nil? && !encoding.casecmp?("identity")
      end

      def download?
        header("content-disposition").to_s.match?(/\A\s*attachment\b/i)
      end

      # @return [Array<String>, nil] the texts of a complete body; nil if it may be streamed
      def parts_of(body)
        return if body.respond_to?(:to_path) || header("transfer-encoding") || rails_stream?(body)

        parts = body.to_ary if body.respond_to?(:to_ary)
        parts || (parts_of_rails(body) if @env.key?("action_controller.instance"))
      end

      # Since Rails 7.1, `self.response_body = enumerator` has a `to_ary`, which returns no Array.
      def rails_stream?(body)
        return false if body.is_a?(Array)

        stream = @env["action_controller.instance"]&.response&.stream or return false
        stream.instance_of?(ActionDispatch::Response::Buffer) && !stream.instance_variable_get(:@buf).is_a?(Array)
      end

      # Before Rails 7.1, a complete body of a controller does not say that it is one. {ActionController::Live} has a
      # stream of its own class.
      def parts_of_rails(body)
        stream = @env["action_controller.instance"]&.response&.stream
        return unless body.respond_to?(:body) && stream.instance_of?(ActionDispatch::Response::Buffer)

        [].tap { |parts| body.each { |part| parts << part } }
      end

      # A validator would be that of the page without its id. Another layer may compute a new one. Some caches prefer
      # their own headers to `Cache-Control`.
      def change_headers(added)
        @headers = @headers.dup
        length = header("content-length")
        set_header(Rack::CONTENT_LENGTH, (length.to_i + added).to_s) if length
        %w[etag last-modified expires surrogate-control cdn-cache-control].each { |name| delete_header(name) }
        set_header(Rack::CACHE_CONTROL, CACHE_CONTROL)
      end

      # Rack 2 does not say how headers are written.
      def name_of(name)
        @headers.each_key.find { |key| key.casecmp?(name) }
      end

      def header(name)
        key = name_of(name)
        key && @headers[key]
      end

      # By its name in this version of Rack: with Rack 3, middleware looks for names in lower case only, and would add
      # its own.
      def set_header(name, value)
        delete_header(name)
        @headers[name] = value
      end

      def delete_header(name)
        key = name_of(name)
        @headers.delete(key) if key
      end
    end
  end
end
