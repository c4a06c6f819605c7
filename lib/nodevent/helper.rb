# frozen_string_literal: true

require "cgi/escape"
require "json"

module NoDevent
  # View helpers. In Rails they are in every view; elsewhere `include NoDevent::Helper`.
  module Helper
    # @example
    #   nodevent_url   # => "http://localhost:8080/api/nodevent"
    # @return [String] the address of the browser script
    # @raise [ConfigurationError]
    def nodevent_url
      config = Emitter.config
      "#{config.host}/api#{config.namespace}"
    end

    # The tag that loads the browser script, which connects and defines `NoDevent`.
    # @example
    #   <%= javascript_include_nodevent %>
    #   <%= javascript_include_nodevent nonce: true, defer: true %>
    # @param nonce [String, true, nil] for a Content-Security-Policy; `true` takes that of the request
    # @param defer [Boolean] runs the script after the page was parsed
    # @param options [Hash]
    # @option options [Boolean] :module loads it as a module; of such tags a page has one
    # @return [String] safe for HTML
    # @raise [ArgumentError] of other options
    # @raise [ConfigurationError]
    def javascript_include_nodevent(nonce: nil, defer: false, **options)
      unknown = options.keys - [:module]
      raise ArgumentError, "unknown keyword: #{unknown.first.inspect}" unless unknown.empty?

      nonce = content_security_policy_nonce if nonce == true
      type = options[:module] ? "module" : "text/javascript"
      extra = "#{" nonce='#{CGI.escapeHTML(nonce)}'" if nonce}#{' defer' if defer}"
      nodevent_safe("<script src='#{CGI.escapeHTML(nodevent_url)}' type='#{type}'#{extra}></script>")
    end

    # Room and key of a record, for a page to join.
    # @example
    #   <%= tag.section data: nodevent_data(@discussion) do %>…
    # @param object see {Room.of}
    # @param expires_after [Numeric] seconds that the key is good for
    # @return [Hash{Symbol => String}] `nodevent_room` and `nodevent_key`
    # @raise [InvalidRoomError, InvalidExpiryError, ConfigurationError]
    def nodevent_data(object, expires_after: HOUR)
      room = Emitter.room(object)
      { nodevent_room: room, nodevent_key: Emitter.room_key(room, Time.now + expires_after) }
    end

    # Room and key of a record as a `<meta>` tag, for scripts to find: `meta[name=nodevent-room]`.
    # @example
    #   <% content_for :head, nodevent_room_tag(@discussion) %>
    #   # <meta name="nodevent-room" content="Discussion_12" data-key="29724deba9cc…:4102444800000">
    # @param object see {Room.of}
    # @param expires_after [Numeric] seconds that the key is good for
    # @return [String] safe for HTML
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
