# frozen_string_literal: true

require "active_support/lazy_load_hooks"
require "nodevent/cable/fragment"
require "nodevent/cable/helper"
require "nodevent/cable/state"

module NoDevent
  module Cable
    # What is added to the classes of Rails and of turbo-rails, as far as they are loaded.
    # @api private
    module Integration
      # The classes of connections and channels, with `state_attr_accessor`.
      module Stateful
        def self.included(base)
          base.class_attribute(:nodevent_state_names, default: [], instance_accessor: false)
          # Another gem may define it.
          base.extend(State::Accessors) unless base.respond_to?(:state_attr_accessor)
        end
      end

      class << self
        # @return [void]
        def install
          ActiveSupport.on_load(:action_cable_connection) { include Stateful }
          ActiveSupport.on_load(:action_cable_channel) { include Stateful }
          ActiveSupport.on_load(:action_view) { prepend Fragment::Tracking }
        end

        # Also after the application's code was reloaded.
        # @return [void]
        def extend_turbo
          return unless defined?(::Turbo::StreamsHelper)

          ::Turbo::StreamsHelper.prepend(Helper::Turbo)
        end
      end
    end
  end
end
