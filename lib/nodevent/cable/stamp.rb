# frozen_string_literal: true

require "securerandom"

module NoDevent
  module Cable
    # What the tag of a stream says to the server: the position of the stream when the page was rendered, after which it
    # needs messages, and an id of the page, for which the server remembers what has arrived. The stock element sends
    # every `data-*` attribute as a parameter of its subscription.
    # @api private
    module Stamp
      # Where the id of the page is in Rack's environment.
      ID = "nodevent.page_id"
      SINCE = :nodevent_since
      PAGE = :nodevent_page

      private_constant :ID, :SINCE, :PAGE

      class << self
        # @param attributes [Hash] those that the template gives, which take precedence
        # @param env [Hash, nil] Rack's, of the request whose page is rendered. What is rendered for other pages, like a
        #   broadcast, has no stamp: they would share one id
        # @return [Hash] the same with the stamp; without the position if it is not known
        def add(attributes, streamables, env)
          return attributes unless env && env[Page::RENDERS]

          stamp = { SINCE => position(streamables), PAGE => env[ID] ||= SecureRandom.alphanumeric(20) }.compact
          stamp = stamp.reject { |name, _| attributes.key?(:"data-#{name.to_s.tr("_", "-")}") }
          own = (attributes[:data] || {}).transform_keys { |name| name.to_s.tr("-", "_").to_sym }
          attributes.merge(data: stamp.merge(own))
        end

        private

        def position(streamables)
          Cable.namespace_of(nil).position(StreamName.of(streamables))
        rescue Error => e
          # The page is more important than what it may miss.
          Logger.log(:debug, "a stream has no position: #{e.message}")
          nil
        end
      end
    end
  end
end
