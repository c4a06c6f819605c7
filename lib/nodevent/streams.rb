# frozen_string_literal: true

require "nodevent/markup"

module NoDevent
  # Turbo Streams in rooms: what `nodevent_stream_from` receives in a page. The custom element
  # `<nodevent-stream-source>` renders them. Does not need turbo-rails.
  module Streams
    # The event whose message is HTML with `<turbo-stream>` elements.
    EVENT = "turbo-stream"
    # The actions that Turbo knows. Applications may add others.
    ACTIONS = %i[append prepend before after replace update remove refresh].freeze
    # Actions without content.
    BARE = %i[remove refresh].freeze

    private_constant :BARE

    class << self
      # The room of a stream. That of one object is the object's own room, to which `emit` publishes.
      # @example
      #   NoDevent::Streams.room(discussion)               # => "Discussion_12"
      #   NoDevent::Streams.room(discussion, :comments)    # => "Discussion_12:comments"
      # @param streamables [Array] records, classes and texts; see {Room.of}
      # @return [String]
      # @raise [ArgumentError] without any
      # @raise [InvalidRoomError]
      def room(*streamables)
        names = streamables.flatten.map { |one| Room.of(one) }
        raise ArgumentError, "a stream needs a name; pass records or texts" if names.empty?
        return names.first if names.one?

        names.map { |name| name.gsub("%", "%25").gsub(":", "%3A") }.join(":")
      end

      # Renders a Turbo Stream and publishes it. Pages with `nodevent_stream_from` and the same streamables show it.
      # @example
      #   NoDevent::Streams.broadcast(discussion, action: :append, target: "comments", partial: "comments/comment",
      #                               locals: { comment: comment })
      #   NoDevent::Streams.broadcast(discussion, action: :update, target: "count", content: "12")
      #   NoDevent::Streams.broadcast(discussion, action: :refresh)
      # @example with streams that exist already
      #   NoDevent::Streams.broadcast(discussion, html: turbo_stream.remove("notice"))
      # @param streamables see {room}
      # @param html [String, nil] `<turbo-stream>` elements, instead of an action
      # @param namespace [String, nil] another namespace than that of the first record
      # @param except see {Emitter.emit}
      # @param stream see {tag}
      # @return see {Emitter.emit}
      # @raise see {Emitter.emit}
      # @raise see {tag}
      def broadcast(*streamables, html: nil, namespace: nil, except: nil, **stream)
        html ||= Encoder.encoding { tag(**stream) }
        options = except ? { except: except } : {}
        own = namespace ? NoDevent.namespace(namespace) : namespace_of(streamables)
        own.publish(room(*streamables), EVENT, html.to_s, options)
      end

      # @param action [Symbol, String] `:append`, `:prepend`, `:before`, `:after`, `:replace`, `:update`, `:remove`,
      #   `:refresh`, or one that the application has added to Turbo
      # @param target [String, nil] the DOM id of the element
      # @param targets [String, nil] a CSS selector, instead of `target`
      # @param content [String, nil] text, or HTML that is marked as safe
      # @param attributes [Hash] more attributes of the element, such as `"request-id"`; and `partial:`, `template:`,
      #   `locals:`, which Rails renders instead of `content:`
      # @return [String] the `<turbo-stream>` element
      # @raise [ArgumentError] without an action, or if the action needs a target
      def tag(action: nil, target: nil, targets: nil, content: nil, **attributes)
        check(action, target || targets)
        rendering, attributes = attributes.partition { |name, _| RENDERING.include?(name) }.map(&:to_h)
        names = { action: action, target: target, targets: targets, **attributes }
        return Markup.element("turbo-stream", names) if BARE.include?(action.to_sym)

        content = rendering.any? ? render(**rendering) : Markup.escape(content)
        Markup.element("turbo-stream", names, "<template>#{content}</template>")
      end

      # Renders with the application's views and helpers, outside of a request.
      # @param options [Hash] `partial:` or `template:`, and `locals:`
      # @return [String] HTML, marked as safe
      # @raise [ConfigurationError] without Rails
      def render(**options)
        controller.render(formats: [:html], **options)
      end

      # @api private
      # @return [Namespace] that of the first record that has one
      def namespace_of(streamables)
        Namespace.of(streamables.flatten.map { |one| Room.subject(one) }.find { |one| one.is_a?(Base) })
      end

      private

      RENDERING = %i[partial template locals].freeze
      private_constant :RENDERING

      def check(action, target)
        unless action
          raise ArgumentError, "a stream needs an action; write `action: :append`, or one of #{ACTIONS.inspect}"
        end
        return if target || action.to_sym == :refresh || !ACTIONS.include?(action.to_sym)

        raise ArgumentError, "the stream action #{Text.value(action)} needs `target:`, a DOM id, or `targets:`, " \
                             "a selector"
      end

      # An application for an API has a controller without views.
      def controller
        unless defined?(::ActionController::Base)
          raise ConfigurationError, "a stream is rendered by Rails; elsewhere pass `content:` or `html:`"
        end

        own = ::ApplicationController if defined?(::ApplicationController)
        own && own <= ::ActionController::Base ? own : ::ActionController::Base
      end
    end
  end
end
