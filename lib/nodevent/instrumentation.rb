# frozen_string_literal: true

module NoDevent
  # The events `emit.nodevent`, `publish.nodevent` and `error.nodevent`, if Active Support is loaded.
  #
  # - `emit.nodevent`: one call of `emit`. Payload: `room` (or the targets as text), `event`, `channel`, `bytes`,
  #   `result`.
  # - `publish.nodevent`: the engine accepted publications. Payload: `count`, `address`, and `seconds`, the latency of
  #   the slowest one.
  # - `error.nodevent`: an error in the background or in an `emit` without `wait: true`. Payload: `error`.
  module Instrumentation
    class << self
      # Runs the block, as an event if there is a subscriber.
      def instrument(name, payload = {}, &block)
        return yield(payload) unless subscribed?(name)

        ActiveSupport::Notifications.instrument(name, payload, &block)
      end

      # @return [Boolean] whether there is a subscriber for `name`
      def subscribed?(name)
        defined?(ActiveSupport::Notifications) && ActiveSupport::Notifications.notifier.listening?(name)
      rescue ThreadError
        # In a signal handler, Active Support cannot take the lock that it needs the first time.
        false
      end
    end
  end
end
