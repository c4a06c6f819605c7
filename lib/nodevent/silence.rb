# frozen_string_literal: true

module NoDevent
  # Blocks in which nothing is emitted: imports, seeds, repairs. Each fiber is silent for itself.
  module Silence
    KEY = :nodevent_silence

    private_constant :KEY

    class << self
      # Whether this fiber is silent.
      def on?
        Thread.current[KEY] ? true : false
      end

      # Runs the block in silence.
      def keep
        before = Thread.current[KEY]
        Thread.current[KEY] = true
        yield
      ensure
        Thread.current[KEY] = before
      end
    end
  end
end
