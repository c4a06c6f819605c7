# frozen_string_literal: true

require "json"
require "nodevent/testing/recorder"
require "nodevent/testing/search"

module NoDevent
  # For the tests of applications: emissions are recorded and go nowhere.
  #
  # RSpec: `require "nodevent/rspec"`. Minitest: `require "nodevent/minitest"`. Both start with {NoDevent.test_mode!}
  # and forget before each test what was recorded.
  module Testing
    class << self
      # @return [Recorder] the one in force
      def recorder
        @recorder ||= Recorder.new
      end

      # Records from now on.
      # @return [void]
      def start
        Emitter.publisher = recorder
      end

      # Publishes again.
      # @return [void]
      def stop
        Emitter.publisher = nil
      end

      # @return [Array<Emission>] what was emitted since the last {clear}
      def emissions
        recorder.emissions
      end

      # Forgets what was recorded.
      # @return [void]
      def clear
        recorder.clear
      end
    end
  end
end
