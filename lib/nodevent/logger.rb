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

      # Logs one printable line. The gem logs in no other way.
      # @api private
      # @param level [Symbol]
      # @param text [String] it may contain external texts
      def log(level, text)
        current.public_send(level, "nodevent: #{Text.line(text)}")
      end
    end
  end
end
