# frozen_string_literal: true

module NoDevent
  # Blocks in which nothing is emitted, for imports, seeds and repairs. Silence belongs to one fiber.
  module Silence
    KEY = :nodevent_silence

    private_constant :KEY

    class << self
      # @return [Boolean] whether the current fiber is silenced
      def on?
        Thread.current[KEY] ? true : false
      end

      # Runs the block silenced.
      def with
        before = Thread.current[KEY]
        Thread.current[KEY] = true
        yield
      ensure
        Thread.current[KEY] = before
      end
    end
  end
end
