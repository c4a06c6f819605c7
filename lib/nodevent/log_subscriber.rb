# frozen_string_literal: true

require "active_support/log_subscriber"

module NoDevent
  # Logs each call of `emit` in Rails' log, at level debug.
  class LogSubscriber < ActiveSupport::LogSubscriber
    # Logs `emit.nodevent`.
    def emit(event)
      debug do
        name, room, bytes = event.payload.values_at(:event, :room, :bytes)
        "  #{color('NoDevent emit', CYAN)} (#{event.duration.round(2)}ms)  #{Text.clean(name)} → " \
          "#{Text.clean(room)} (#{bytes} bytes)"
      end
    end
  end
end
