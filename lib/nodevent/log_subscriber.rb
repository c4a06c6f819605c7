# frozen_string_literal: true

require "active_support/log_subscriber"

module NoDevent
  # A line in Rails' log for each emission, at level debug.
  class LogSubscriber < ActiveSupport::LogSubscriber
    # `emit.nodevent`
    def emit(event)
      debug do
        name, room, bytes = event.payload.values_at(:event, :room, :bytes)
        "  #{color('NoDevent emit', CYAN)} (#{event.duration.round(2)}ms)  #{name} → #{room} (#{bytes} bytes)"
      end
    end
  end
end
