# frozen_string_literal: true

require "cgi/escape"
require "json"

module NoDevent
  # View helpers. Rails includes them in every view; elsewhere `include NoDevent::Helper`.
  module Helper
    # @example
    #   nodevent_url   # => "http://localhost:8080/api/nodevent"
    # @return [String] the URL of the browser script
    # @raise [ConfigurationError]
    def nodevent_url
      config = Emitter.config
      "#{config.public_url}/api#{config.namespace}"
    end

    # The tag that loads the browser script, which defines `NoDevent` and connects.
    # @example
    #   <%= javascript_include_nodevent %>
    #   <%= javascript_include_nodevent nonce: true, defer: true %>
    # @param nonce [String, true, nil] for a Content-Security-Policy; `true` uses the request's nonce
    # @param defer [Boolean] whether the script runs after the page is parsed
    # @param options [Hash]
    # @option options [Boolean] :module load the script as a module; use one such tag per page
    # @return [String] HTML, marked as safe
    # @raise [ArgumentError] for other options
    # @raise [ConfigurationError]
    def javascript_include_nodevent(nonce: nil, defer: false, **options)
      unknown = options.keys - [:module]
      raise ArgumentError, "unknown keyword: #{unknown.first.inspect}" unless unknown.empty?

      nonce = content_security_policy_nonce if nonce == true
      type = options[:module] ? "module" : "text/javascript"
      extra = "#{" nonce='#{CGI.escapeHTML(nonce)}'" if nonce}#{' defer' if defer}"
      nodevent_safe("<script src='#{CGI.escapeHTML(nodevent_url)}' type='#{type}'#{extra}></script>")
    end

    # Room and key of a record, as data attributes for a page that joins it.
    # @example
    #   <%= tag.section data: nodevent_data(@discussion) do %>…
    # @param object see {Room.of}
    # @param expires_after [Numeric] seconds until the key expires
    # @return [Hash{Symbol => String}] `nodevent_room` and `nodevent_key`
    # @raise [InvalidRoomError, InvalidExpiryError, ConfigurationError]
    def nodevent_data(object, expires_after: HOUR)
      room = Emitter.room(object)
      { nodevent_room: room, nodevent_key: Emitter.room_key(room, Time.now + expires_after) }
    end

    # Room and key of a record as a `<meta>` tag, which scripts find by `meta[name=nodevent-room]`.
    # @example
    #   <% content_for :head, nodevent_room_tag(@discussion) %>
    #   # <meta name="nodevent-room" content="Discussion_12" data-key="29724deba9cc…:4102444800000">
    # @param object see {Room.of}
    # @param expires_after [Numeric] seconds until the key expires
    # @return [String] HTML, marked as safe
    # @raise [InvalidRoomError, InvalidExpiryError, ConfigurationError]
    # @see nodevent_data
    def nodevent_room_tag(object, expires_after: HOUR)
      data = nodevent_data(object, expires_after: expires_after)
      room, key = data.values_at(:nodevent_room, :nodevent_key).map { |text| CGI.escapeHTML(text) }
      nodevent_safe(%(<meta name="nodevent-room" content="#{room}" data-key="#{key}">))
    end

    private

    def nodevent_safe(html)
      html.respond_to?(:html_safe) ? html.html_safe : html
    end
  end
end
