# frozen_string_literal: true

require "io/wait"

module NoDevent
  module Publisher
    # Carries what happens on the native thread to Ruby: the log, {NoDevent.on_error}, `publish.nodevent`.
    #
    # One thread per process, started by its first emission. It sleeps at a pipe into which the native thread writes.
    module Reporter
      # How long it sleeps at most, so that a new listener of `publish.nodevent` is noticed.
      NAP = 5.0
      LOCK = Mutex.new

      private_constant :NAP, :LOCK

      class << self
        # Starts the thread if this process has none. Costs next to nothing when it has.
        def start
          return if @thread&.alive?

          LOCK.synchronize { @thread = run unless @thread&.alive? }
        end

        # At exit, sends what waits, for at most so many seconds, and says what could not be sent.
        def at_exit(seconds)
          @seconds = seconds
          return if @registered

          @registered = true
          Kernel.at_exit { finish }
        end

        # Tells of what has happened since the last time.
        def catch_up
          Native.reports.each { |report| tell(*report) }
        end

        private

        # The pipe is this process's own, also after a fork.
        def run
          bell, @ringer = IO.pipe
          Native.ring(@ringer.fileno)
          look_for_listeners
          Thread.new do
            Thread.current.name = "nodevent reports"
            loop { listen(bell) }
          end
        end

        def listen(bell)
          bell.read_nonblock(4096, exception: false) if bell.wait_readable(NAP)
          look_for_listeners
          catch_up
        end

        def look_for_listeners
          Native.want_sent(Instrumentation.listening?("publish.nodevent"))
        end

        def tell(kind, count, seconds, text)
          case kind
          when :sent
            Instrumentation.instrument("publish.nodevent", count: count, seconds: seconds, address: text) { nil }
          when :back then Failures.logger.info("nodevent: #{text} is back after #{seconds.round(1)} s")
          else Failures.report(PublishError.new(message(kind, count, text), count: count))
          end
        rescue StandardError => e
          Failures.logger.error("nodevent: #{e.class} while reporting: #{e.message}")
        end

        def message(kind, count, text)
          case kind
          when :away
            remedy = Queued.remedy(http: text.start_with?("http"))
            "#{text.chomp('.')}. Emissions wait for it in a bounded queue: #{remedy}"
          when :dropped
            "#{emissions(count)} dropped: the queue to #{text} is full; see that it keeps up, or raise " \
            "`publisher: { queue:, queue_bytes: }`"
          else "#{emissions(count)} not published: #{text}"
          end
        end

        def emissions(count)
          count == 1 ? "1 emission was" : "#{count} emissions were"
        end

        def finish
          done = Native.flush(@seconds, true)
          catch_up
          return if done

          queued = Native.stats.first
          text = "#{emissions(queued)} not sent before the exit; see that what they go to runs, or raise " \
                 "`publisher: { flush: }`, now #{@seconds} s"
          Failures.report(PublishError.new(text, count: queued))
        end
      end
    end
  end
end
