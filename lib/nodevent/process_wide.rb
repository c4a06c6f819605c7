# frozen_string_literal: true

# What concerns the process as a whole.
module NoDevent
  class << self
    # Calls the block with each {PublishError} that no caller can be told of: once when the engine goes away, when it
    # refuses emissions, when the queue is full. The block runs on a thread of its own and must not take long.
    # @example
    #   NoDevent.on_error { |error| Sentry.capture_exception(error) }
    # @yieldparam error [PublishError]
    # @return [Proc] the handler
    # @raise [ArgumentError] without a block
    def on_error(&block)
      Failures.on_error(&block)
    end

    # @return [#warn, #info, #error] Rails' log in Rails; otherwise warnings go to standard error
    def logger
      Failures.logger
    end

    # @example
    #   NoDevent.logger = Logger.new("log/nodevent.log")
    # @param logger [Logger, #warn] what has the methods of Ruby's Logger
    # @return [void]
    def logger=(logger)
      Failures.logger = logger
    end

    # @example
    #   NoDevent.stats   # => {:queued=>0, :sent=>12, :failed=>0, :dropped=>0}
    # @return [Hash{Symbol => Integer}] this process's emissions: `queued` now; `sent`, `failed` (refused by the
    #   engine, or withdrawn when a caller's time was over) and `dropped` (no room in the queue) so far
    def stats
      %i[queued sent failed dropped].zip(Native.stats).to_h
    end

    # Waits until all that was emitted so far has reached the engine. Needed only before `exit!`; a normal exit does
    # it, for at most `publisher: { flush: }` of the configuration.
    # @example
    #   fork { work; NoDevent.flush(2); exit! }
    # @param timeout [Numeric] seconds
    # @return [Boolean] whether it has
    # @raise [ArgumentError, TypeError] if that is no number
    def flush(timeout = 5)
      Native.flush(Float(timeout), false)
    end

    # From now on emissions are recorded and go nowhere: for tests. `require "nodevent/rspec"` and `"nodevent/minitest"`
    # do it before each test.
    # @example
    #   recorded = NoDevent.test_mode!
    #   comment.save!
    #   recorded.emissions.map(&:event)   # => ["create"]
    #   recorded.stop                     # publishes again
    # @return [NoDevent::Testing]
    def test_mode!
      require "nodevent/testing"
      Testing.start
      Testing
    end

    # Runs the block; nothing is emitted in it, not even by the commits of what was changed in it. Of this fiber alone.
    # @example
    #   NoDevent.silence { Discussion.import(rows) }
    # @return [Object] what the block returns
    def silence(&block)
      Silence.keep(&block)
    end
  end
end
