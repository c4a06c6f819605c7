# frozen_string_literal: true

require "nodevent/markup"

module NoDevent
  module Cable
    # The tag of `turbo_stream_from`, with which the server replays what was published between rendering and
    # subscribing.
    module Helper
      # Prepended to the helper of turbo-rails.
      module Turbo
        # @api private
        # @param streamables see turbo-rails
        # @param attributes see turbo-rails
        # @return see turbo-rails
        def turbo_stream_from(*streamables, **attributes)
          super(*streamables, **Stamp.add(attributes, streamables, nodevent_stamped_env))
        end
      end

      # The tag that `turbo_stream_from` of turbo-rails makes, for applications without that gem. With it, use
      # `turbo_stream_from`.
      # @example
      #   <%= nodevent_cable_stream_from @post, :comments %>
      # @param streamables [Array] records and texts that name the stream
      # @param attributes [Hash] attributes of the tag, like `data:`
      # @return [String] HTML, marked as safe
      # @raise [ArgumentError] without a name
      # @raise [ConfigurationError] if the key of signed names is not known
      def nodevent_cable_stream_from(*streamables, **attributes)
        attributes = Stamp.add(attributes, streamables, nodevent_stamped_env)
        names = { "channel" => "Turbo::StreamsChannel", **attributes.except(:data).transform_keys(&:to_s),
                  "signed-stream-name" => Cable.signed_stream_name(*streamables) }
        Markup.element("turbo-cable-stream-source", { **names, data: attributes[:data] })
      end

      private

      # The environment of the request whose page is rendered. A fragment for the cache is for other pages too.
      def nodevent_stamped_env
        return if respond_to?(:nodevent_cached?) && nodevent_cached?

        # The controller of a mail has no request.
        owner = respond_to?(:controller) ? controller : self
        owner.request&.env if owner.respond_to?(:request)
      end
    end
  end
end
