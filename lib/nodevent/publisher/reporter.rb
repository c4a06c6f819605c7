# frozen_string_literal: true

require "io/wait"

module NoDevent
  module Publisher
    # Passes reports of the native thread on to Ruby: to the log, {NoDevent.on_error} and `publish.nodevent`. Flushes
    # the queue when the process ends.
    #
    # Each process has one reporter thread, started by its first publication. It waits on a pipe that the native thread
    # writes to.
    module Reporter
      # Seconds after which the thread looks for new subscribers of `publish.nodevent`.
      POLL_INTERVAL = 5.0

      private_constant :POLL_INTERVAL

      class << self
        # Starts the thread if this process has none. Cheap if it has one.
        def start
          return if @thread&.alive?

          Publisher.synchronize { @thread = run unless @thread&.alive? }
        rescue ThreadError
          # A process that is ending cannot start threads. Its reports are handled by the flush.
          nil
        end

        # @return [Boolean] whether {start} and {published} have nothing to do
        def running?
          @thread&.alive? && @finished != Native.forks
        end

        # Registers a flush at exit, for at most `seconds`, which reports what could not be sent.
        def at_exit(seconds)
          @seconds = seconds
          @finished = Native.forks if @ending == Native.forks
          return if @registered

          @registered = true
          Kernel.at_exit { finish }
        end

        # Notices the end of the process, after which no `at_exit` block is called any more.
        def watch_exit
          Kernel.at_exit { @ending = Native.forks }
        end

        # Sends what is published after the flush at exit, by an `at_exit` block that was registered before the first
        # publication or by a finalizer.
        def published
          flush_unsent if @finished && @finished == Native.forks
        end

        # Handles the reports since the last call.
        def drain_reports
          Native.reports.each { |report| handle(*report) }
        end

        # Reports what is queued and cannot be sent any more.
        # @param flush [Boolean] whether to try, for at most `shutdown_timeout`
        def flush_unsent(flush: true)
          done = flush && Native.flush(@seconds, true)
          drain_reports
          return if done

          queued = Native.stats.first
          ErrorReporter.report(PublishError.new("#{publications(queued)} #{unsent(flush)}", count: queued))
        end

        private

        def finish
          flush_unsent
          @finished = Native.forks
          Native::FastPath.invalidate
        end

        # Each process creates its own pipe, including forks.
        def run
          reader, @writer = IO.pipe
          Native.wakeup_fd = @writer.fileno
          refresh_subscriptions
          Thread.new do
            Thread.current.name = "nodevent reports"
            loop { wait_and_drain(reader) }
          ensure
            Native::FastPath.invalidate
          end
        end

        def wait_and_drain(reader)
          reader.read_nonblock(4096, exception: false) if reader.wait_readable(POLL_INTERVAL)
          refresh_subscriptions
          drain_reports
        end

        def refresh_subscriptions
          Native.report_sent = Instrumentation.subscribed?("publish.nodevent")
        end

        def handle(kind, count, seconds, text)
          case kind
          when :sent
            Instrumentation.instrument("publish.nodevent", count: count, seconds: seconds, address: text) { nil }
          when :warning then ErrorReporter.report(PublishError.new(text, count: 0))
          when :restored
            Logger.log(:info, "reconnected to #{text} after #{seconds.round(1)} s")
          else ErrorReporter.report(PublishError.new(message(kind, count, text), count: count))
          end
        rescue StandardError => e
          Logger.log(:error, "#{e.class} while reporting: #{Text.clean(e.message)}")
        end

        def message(kind, count, text)
          case kind
          when :unavailable
            hint = BackgroundPublisher.hint(http: text.start_with?("http"))
            "#{text.chomp('.')}. Publications are queued and retried: #{hint}"
          when :dropped
            "#{publications(count)} dropped: the queue to #{text} is full; check that it keeps up, or raise " \
            "`publisher: { queue:, queue_bytes: }`"
          else "#{publications(count)} not published: #{text}"
          end
        end

        def unsent(flush)
          if flush
            "not sent before the exit; check that the target is running, or raise " \
              "`publisher: { shutdown_timeout: }` (now #{@seconds} s)"
          else
            "not sent, because exit! skips the flush at exit; call NoDevent.flush before it"
          end
        end

        def publications(count)
          count == 1 ? "1 publication was" : "#{count} publications were"
        end
      end
    end
  end
end
