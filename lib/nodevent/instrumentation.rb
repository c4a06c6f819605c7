# frozen_string_literal: true

module NoDevent
  # `emit.nodevent`, `publish.nodevent` and `error.nodevent`, where Active Support is loaded.
  #
  # - `emit.nodevent`: around one `emit`. `room`, `event`, `channel`, `bytes`, and `result`.
  # - `publish.nodevent`: the engine has emissions. `count`, `address`, and `seconds`, the slowest one's way there.
  # - `error.nodevent`: something went wrong in the background or in an `emit` that does not wait. `error`.
  module Instrumentation
    class << self
      # Runs the block, as an event if somebody listens.
      def instrument(name, payload = {}, &block)
        return yield(payload) unless listening?(name)

        ActiveSupport::Notifications.instrument(name, payload, &block)
      end

      # Whether anybody wants to hear of `name`.
      def listening?(name)
        defined?(ActiveSupport::Notifications) && ActiveSupport::Notifications.notifier.listening?(name)
      end
    end
  end
end
