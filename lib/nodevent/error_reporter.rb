# frozen_string_literal: true

module NoDevent
  # Reports errors that cannot be raised to a caller: to the log, to {NoDevent.on_error} and as `error.nodevent`.
  module ErrorReporter
    @handlers = []

    class << self
      # Adds a handler.
      # @return [Proc] the handler
      def on_error(&block)
        raise ArgumentError, "NoDevent.on_error needs a block: NoDevent.on_error { |error| … }" unless block

        @handlers += [block]
        block
      end

      # Removes a handler.
      def remove(handler)
        @handlers -= [handler]
      end

      # Reports an error. Exceptions raised by handlers are logged.
      # @param error [PublishError]
      def report(error)
        Logger.log(:warn, error.message)
        Instrumentation.instrument("error.nodevent", error: error) {} # rubocop:disable Lint/EmptyBlock
        @handlers.each { |handler| call(handler, error) }
      end

      private

      def call(handler, error)
        handler.call(error)
      rescue StandardError => e
        Logger.log(:error, "a handler given to NoDevent.on_error raised #{e.class}: #{Text.clean(e.message)}")
      end
    end
  end
end
