# frozen_string_literal: true

module NoDevent
  # The logger in use. Rails sets its own; elsewhere warnings go to standard error.
  module Logger
    # The logger for processes that set none. Not Ruby's Logger, which is a separate gem since Ruby 4.0 and may not be
    # installed.
    class Plain
      def debug(_message = nil); end
      alias info debug

      def warn(message = nil)
        Kernel.warn(message || yield)
      end
      alias error warn
    end

    class << self
      attr_writer :current

      def current
        @current ||= Plain.new
      end
    end
  end
end
