# frozen_string_literal: true

# The module methods of {NoDevent}, which concern the whole process.
module NoDevent
  class << self
    # Calls the block with each {PublishError} that cannot be raised to a caller: once when the engine becomes
    # unavailable, when it rejects publications, and when the queue is full. The block runs on a background thread and
    # must return quickly.
    # @example
    #   NoDevent.on_error { |error| Sentry.capture_exception(error) }
    # @yieldparam error [PublishError]
    # @return [Proc] the handler
    # @raise [ArgumentError] without a block
    def on_error(&block)
      ErrorReporter.on_error(&block)
    end

    # @return [#warn, #info, #error] Rails' logger in Rails; otherwise one that writes warnings to standard error
    def logger
      Logger.current
    end

    # @example
    #   NoDevent.logger = Logger.new("log/nodevent.log")
    # @param logger [::Logger, #warn] an object with the methods of Ruby's Logger
    # @return [void]
    def logger=(logger)
      Logger.current = logger
    end

    # @example
    #   NoDevent.stats   # => {:queued=>0, :sent=>12, :failed=>0, :dropped=>0}
    # @return [Hash{Symbol => Integer}] the counts of this process's publications: `queued` at the moment; `sent`,
    #   `failed` (rejected by the engine, or withdrawn after the caller's timeout) and `dropped` (because the queue was
    #   full) since the process started
    def stats
      %i[queued sent failed dropped].zip(Native.stats).to_h
    end

    # Waits until everything emitted so far has reached the engine. Required only before `exit!`: a normal exit flushes
    # for up to `publisher: { shutdown_timeout: }`.
    # @example
    #   fork { work; NoDevent.flush(2); exit! }
    # @param timeout [Numeric] seconds
    # @return [Boolean] whether everything has reached the engine
    # @raise [ArgumentError, TypeError] if the timeout is not a number
    def flush(timeout = 5)
      Native.flush(Float(timeout), false)
    end

    # Records publications instead of publishing them, for tests. `require "nodevent/rspec"` and `"nodevent/minitest"`
    # call this before each test.
    # @example
    #   recorded = NoDevent.test_mode!
    #   comment.save!
    #   recorded.publications.map(&:event)   # => ["create"]
    #   recorded.stop                        # publishes again
    # @return [NoDevent::Testing]
    def test_mode!
      require "nodevent/testing"
      Testing.start
      Testing
    end

    # Runs the block without emitting anything, including the commits of changes made in it. Affects only the current
    # fiber.
    # @example
    #   NoDevent.silence { Discussion.import(rows) }
    # @return [Object] the block's result
    def silence(&block)
      Silence.with(&block)
    end
  end
end
