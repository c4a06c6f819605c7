# frozen_string_literal: true

module NoDevent
  # A value that belongs to the current fiber, and has its previous value again after a block.
  # @api private
  class FiberLocal
    # @param name [Symbol] unique in the process
    def initialize(name)
      @name = name
      freeze # for other Ractors
    end

    # @return [Object, nil] the value in the current fiber
    def value
      Thread.current[@name]
    end

    # Runs the block with another value.
    # @return [Object] the block's result
    def with(value)
      before = self.value
      Thread.current[@name] = value
      yield
    ensure
      Thread.current[@name] = before
    end
  end
end
