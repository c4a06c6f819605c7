# frozen_string_literal: true

module NoDevent
  module Doctor
    # Reports findings to `@report`, a function.
    module Reporting
      private

      def ok(message)
        @report.call(Finding.new(level: :ok, message: message))
        true
      end

      def warn(message, hint)
        @report.call(Finding.new(level: :warn, message: message, hint: hint))
        true
      end

      def failed(message, hint)
        @report.call(Finding.new(level: :fail, message: message, hint: hint))
        false
      end
    end
  end
end
