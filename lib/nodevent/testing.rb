# frozen_string_literal: true

require "json"
require "nodevent/testing/context"
require "nodevent/testing/notification_match"
require "nodevent/testing/pages"
require "nodevent/testing/publication_match"
require "nodevent/testing/recorder"
require "nodevent/testing/revocation_match"

module NoDevent
  # Test support for applications: records publications, messages to mailboxes, revocations, and what pages subscribe
  # to, instead of sending them.
  #
  # RSpec: `require "nodevent/rspec"`. Minitest: `require "nodevent/minitest"`. Both record from the start, and each
  # test sees only its own publications, also if tests run in parallel threads or processes.
  module Testing
    class << self
      # @return [Recorder] the recorder in use
      def recorder
        @recorder ||= Recorder.new
      end

      # Starts to record.
      # @return [void]
      def start
        Emitter.publisher = recorder
      end

      # Stops recording and publishes again.
      # @return [void]
      def stop
        Emitter.publisher = nil
      end

      # @return [Array<Publication>] the publications of the current test; outside of tests, all since the last {clear}
      def publications
        recorder.publications
      end

      # @return [Array<Notification>] the messages to mailboxes of the current test; outside of tests, all since the
      #   last {clear}
      def notifications
        recorder.notifications
      end

      # @return [Array<Revocation>] the revocations of the current test; outside of tests, all since the last {clear}
      def revocations
        recorder.revocations
      end

      # @return [Array<Subscription>] what pages of the current test have subscribed to, and unsubscribed from; outside
      #   of tests, all since the last {clear}
      def subscriptions
        recorder.subscriptions
      end

      # @return [Array<Push>] the pushes of the current test; outside of tests, all since the last {clear}
      def pushes
        recorder.pushes
      end

      # Deletes what was recorded: that of the current test, or outside of tests, everything.
      # @return [void]
      def clear
        recorder.clear
      end

      # Separates the publications of a test from those of others. `nodevent/rspec` and `nodevent/minitest` call it.
      # @api private
      def begin_test
        Context.enter
      end

      # @api private
      def end_test
        context = Context.current
        Context.leave
        recorder.forget(context)
      end
    end
  end
end
