# frozen_string_literal: true

require "json"
require "nodevent/testing/recorder"
require "nodevent/testing/publication_match"

module NoDevent
  # Test support for applications: records publications instead of publishing them.
  #
  # RSpec: `require "nodevent/rspec"`. Minitest: `require "nodevent/minitest"`. Both call {NoDevent.test_mode!} and
  # clear the recorded publications before each test.
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

      # @return [Array<Publication>] the publications since the last {clear}
      def publications
        recorder.publications
      end

      # Deletes the recorded publications.
      # @return [void]
      def clear
        recorder.clear
      end
    end
  end
end
