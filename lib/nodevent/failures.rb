# frozen_string_literal: true

module NoDevent
  # Where failures go that no caller can be told of: the log, {NoDevent.on_error}, `error.nodevent`.
  module Failures
    # The log where nobody has set another: warnings and errors to standard error. Not Ruby's Logger, which from
    # Ruby 4.0 on is a gem that the application might not have.
    class PlainLog
      def debug(_message = nil); end
      alias info debug

      def warn(message = nil)
        Kernel.warn(message || yield)
      end
      alias error warn
    end

    @handlers = []

    class << self
      # The log. Rails sets its own; elsewhere warnings go to standard error.
      attr_writer :logger

      def logger
        @logger ||= PlainLog.new
      end

      # Adds a handler.
      # @return [Proc] it
      def on_error(&block)
        raise ArgumentError, "NoDevent.on_error needs a block: NoDevent.on_error { |error| … }" unless block

        @handlers += [block]
        block
      end

      # Removes a handler.
      def forget(handler)
        @handlers -= [handler]
      end

      # Tells everybody. Nothing that a handler raises gets out of here.
      # @param error [PublishError]
      def report(error)
        logger.warn("nodevent: #{error.message}")
        Instrumentation.instrument("error.nodevent", error: error) {} # rubocop:disable Lint/EmptyBlock
        @handlers.each { |handler| call(handler, error) }
      end

      private

      def call(handler, error)
        handler.call(error)
      rescue StandardError => e
        logger.error("nodevent: a handler given to NoDevent.on_error raised #{e.class}: #{e.message}")
      end
    end
  end
end
