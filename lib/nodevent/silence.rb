# frozen_string_literal: true

module NoDevent
  # Blocks in which nothing is emitted: imports, seeds, repairs.
  module Silence
    KEY = :nodevent_silence

    private_constant :KEY

    class << self
      # Whether this thread of control is silent.
      def on?
        store[KEY] ? true : false
      end

      # Runs the block in silence.
      def keep
        before = store[KEY]
        store[KEY] = true
        yield
      ensure
        store[KEY] = before
      end

      private

      # The storage of fibers is inherited by the fibers and threads that a block starts; Ruby 3.1 has none.
      def store
        Fiber.respond_to?(:[]) ? Fiber : Thread.current
      end
    end
  end
end
