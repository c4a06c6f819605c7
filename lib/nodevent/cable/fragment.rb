# frozen_string_literal: true

module NoDevent
  module Cable
    # Whether a fragment is being rendered for the cache. What is cached is for every visitor and for later, so it must
    # have neither the position of now nor the id of one page.
    # @api private
    module Fragment
      CURRENT = FiberLocal.new(:nodevent_fragment)

      private_constant :CURRENT

      # @return [Boolean]
      def self.cached?
        CURRENT.value ? true : false
      end

      # Prepended to the views of Rails.
      module Tracking
        # Rails 7.0 and newer know it themselves.
        def nodevent_cached?
          Fragment.cached? || (respond_to?(:caching?) && caching?)
        end

        private

        def write_fragment_for(*)
          CURRENT.with(true) { super }
        end
      end
    end
  end
end
