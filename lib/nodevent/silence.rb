# frozen_string_literal: true

module NoDevent
  # Blocks in which nothing is emitted, for imports, seeds and repairs. Silence belongs to one fiber.
  module Silence
    # The fiber-local variable that is set in such a block.
    NAME = :nodevent_silence
    STATE = FiberLocal.new(NAME)

    private_constant :STATE

    class << self
      # @return [Boolean] whether the current fiber is silenced
      def on?
        STATE.value ? true : false
      end

      # Runs the block silenced.
      # @return [Object] the block's result
      def with(&block)
        STATE.with(true, &block)
      end
    end
  end
end
