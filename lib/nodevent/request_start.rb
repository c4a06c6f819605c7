# frozen_string_literal: true

module NoDevent
  # Remembers when the current request started. A page shows the state that the application loaded after that, so it
  # catches up from the last position before.
  # @api private
  module RequestStart
    KEY = :nodevent_request_start

    private_constant :KEY

    class << self
      def mark
        Thread.current[KEY] = now
      end

      def clear
        Thread.current[KEY] = nil
      end

      # @return [Float, nil] seconds since the start; nil outside of requests
      def elapsed
        start = Thread.current[KEY]
        start && (now - start)
      end

      private

      def now
        ::Process.clock_gettime(::Process::CLOCK_MONOTONIC)
      end
    end
  end
end
