# frozen_string_literal: true

require "cgi/escape"
require "json"
require "nodevent/markup"
require "nodevent/streams"

module NoDevent
  # View helpers. Rails includes them in every view; elsewhere `include NoDevent::Helper`.
  module Helper
    # @example
    #   nodevent_url   # => "http://localhost:8080/api/nodevent"
    # @param namespace [String, nil] another namespace than the default
    # @return [String] the URL of the browser script
    # @raise [ConfigurationError]
    def nodevent_url(namespace: nil)
      nodevent_namespace_of(namespace).url
    end

    # The tag that loads the browser script, which defines `NoDevent` and connects.
    # @example the page does not wait for the server, and can use `NoDevent` at once
    #   <%= javascript_include_nodevent async: true %>
    # @example the page waits for the script
    #   <%= javascript_include_nodevent %>
    # @param async [Boolean] whether the page is shown without waiting for the script. An inline script defines a
    #   `NoDevent` that records calls until the real one has loaded. Needs a nonce, or {NoDevent.csp_hash}, if the page
    #   has a Content-Security-Policy
    # @param nonce [String, true, false] for a Content-Security-Policy; by default the request's nonce, if it has one
    # @param defer [Boolean] whether the script runs after the page is parsed
    # @param namespace [String, nil] another namespace than the default
    # @param options [Hash]
    # @option options [Boolean] :module load the script as a module; use one such tag per page
    # @return [String] HTML, marked as safe
    # @raise [ArgumentError] for other options, and for `async` with `defer`
    # @raise [ConfigurationError]
    def javascript_include_nodevent(nonce: true, async: false, defer: false, namespace: nil, **options)
      unknown = options.keys - [:module]
      raise ArgumentError, "unknown keyword: #{Text.value(unknown.first)}" unless unknown.empty?
      raise ArgumentError, "write `async: true` or `defer: true`, not both" if async && defer

      nonce = nodevent_nonce if nonce == true
      keys = KeyEndpoint.url(nodevent_namespace_of(namespace))
      type = options[:module] ? "module" : "text/javascript"
      tag = nodevent_script(src: nodevent_url(namespace: namespace), type: type, nonce: nonce, defer: defer,
                            async: async, "data-nodevent": async, "data-nodevent-key-url": keys)
      queue = nodevent_script(ClientFiles.queue, nonce: nonce) if async
      nodevent_safe("#{queue}#{tag}")
    end

    # Room and key of a record, as data attributes for a page that joins it.
    # @example
    #   <%= tag.section data: nodevent_data(@discussion) do %>…
    # @param object see {Room.of}
    # @param expires_after [Numeric] seconds until the key expires
    # @param namespace [String, nil] another namespace than the default, or than the one of the record's class
    # @return [Hash{Symbol => String}] `nodevent_room` and `nodevent_key`; with {NoDevent.authorize} also
    #   `nodevent_key_url`; and `nodevent_position`, from which the page catches up, if it is known. While a message is
    #   encoded, only `nodevent_room`
    # @raise [InvalidRoomError, InvalidExpiryError, ConfigurationError]
    def nodevent_data(object, expires_after: HOUR, namespace: nil)
      own = nodevent_namespace_of(namespace, object)
      room = Emitter.room(object)
      return { nodevent_room: room } if Encoder.encoding?

      { nodevent_room: room, nodevent_key: own.room_key(room, Time.now + expires_after),
        nodevent_position: own.position(room), nodevent_key_url: KeyEndpoint.url(own) }.compact
    end

    # Room and key of a record as a `<meta>` tag, which scripts find by `meta[name=nodevent-room]`. The position and the
    # location of the key endpoint are attributes too, if {#nodevent_data} has them.
    # @example
    #   <% content_for :head, nodevent_room_tag(@discussion) %>
    #   # <meta name="nodevent-room" content="Discussion_12" data-key="29724deba9cc…:4102444800000"
    #   #   data-position="9f8e7d6c5b4a3928:41" data-key-url="/nodevent/key">
    # @param object see {Room.of}
    # @param expires_after [Numeric] seconds until the key expires
    # @param namespace see {#nodevent_data}
    # @return [String] HTML, marked as safe
    # @raise [InvalidRoomError, InvalidExpiryError, ConfigurationError]
    # @see nodevent_data
    def nodevent_room_tag(object, expires_after: HOUR, namespace: nil)
      data = nodevent_data(object, expires_after: expires_after, namespace: namespace)
      attributes = { content: :nodevent_room, "data-key": :nodevent_key, "data-position": :nodevent_position,
                     "data-key-url": :nodevent_key_url }
      html = attributes.filter_map { |name, of| %( #{name}="#{CGI.escapeHTML(data[of])}") if data[of] }.join
      nodevent_safe(%(<meta name="nodevent-room"#{html}>))
    end

    # The element that receives the Turbo Streams of a room in this page. It joins, renews its key, catches up after a
    # lost connection, and leaves when it is removed. `broadcasts_nodevent` in a model and {Streams.broadcast} publish
    # them. The page needs the script tag and `nodevent-stream-source.js`; see docs/rails.md.
    # @example
    #   <%= nodevent_stream_from @discussion %>
    #   <%= nodevent_stream_from @discussion, :comments, id: "stream", data: { turbo_permanent: true } %>
    # @param streamables see {Streams.room}
    # @param expires_after [Numeric] seconds until the key expires
    # @param namespace [String, nil] another namespace than that of the first record
    # @param attributes [Hash] more attributes of the element, such as `id:` and `data:`
    # @return [String] HTML, marked as safe. While a fragment for the cache or a message is rendered, which others see
    #   too, without key and position
    # @raise [ArgumentError] without a streamable
    # @raise [InvalidRoomError, InvalidExpiryError, ConfigurationError]
    def nodevent_stream_from(*streamables, expires_after: HOUR, namespace: nil, **attributes)
      own = namespace ? NoDevent.namespace(namespace) : Streams.namespace_of(streamables)
      data = nodevent_data(Streams.room(*streamables), expires_after: expires_after, namespace: own.name)
      data = data.slice(:nodevent_room, :nodevent_key_url) if respond_to?(:nodevent_cached?) && nodevent_cached?
      names = data.transform_keys { |name| name.to_s.delete_prefix("nodevent_").tr("_", "-") }
      Markup.element("nodevent-stream-source", names.merge(attributes))
    end

    # A short-lived token of the visitor as a `<meta>` tag: with it, the page's connection has a user. A page that stays
    # open for longer gets new tokens from the application.
    # @example
    #   <%= nodevent_token_tag(current_user) if current_user %>
    #   # <meta name="nodevent-token" content="eyJhbGciOiJIUzI1NiIs…">
    # @param user see {Token.issue}
    # @param expires_after [Numeric] seconds until the token expires
    # @param rooms see {Token.issue}
    # @param info see {Token.issue}
    # @param namespace [String, nil] another namespace than the default
    # @return [String] HTML, marked as safe
    # @raise see {Token.issue}
    def nodevent_token_tag(user, expires_after: Token::LIFETIME, rooms: [], info: nil, namespace: nil)
      expires = Time.now + expires_after
      token = Token.issue(user, expires: expires, rooms: rooms, info: info, namespace: namespace)
      nodevent_safe(%(<meta name="nodevent-token" content="#{CGI.escapeHTML(token)}">))
    end

    private

    def nodevent_namespace_of(name, object = nil)
      name ? NoDevent.namespace(name) : Namespace.of(Room.subject(object))
    end

    # Without a policy, or outside of a request, Rails has no nonce.
    def nodevent_nonce
      return if respond_to?(:controller) && controller.nil?

      content_security_policy_nonce if respond_to?(:content_security_policy_nonce)
    end

    # A script element. Attributes that are true have no value; others that are false or nil are left out.
    def nodevent_script(content = "", **attributes)
      html = attributes.filter_map do |name, value|
        next unless value

        value == true ? " #{name}" : " #{name}='#{CGI.escapeHTML(value)}'"
      end
      "<script#{html.join}>#{content}</script>"
    end

    def nodevent_safe(html)
      Markup.safe(html)
    end
  end
end
