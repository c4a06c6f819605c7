# frozen_string_literal: true

module E2E
  # Waiting for a condition instead of for a time.
  module Patience
    LIMIT = 20 # seconds; a machine that compiles beside this is slow

    module_function

    # Returns the block's first true value; fails with `what` where there is none in time.
    def eventually(what, within: LIMIT)
      give_up = Process.clock_gettime(Process::CLOCK_MONOTONIC) + within
      loop do
        value = yield
        return value if value
        raise "#{what}: not within #{within} s" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > give_up

        IO.select(nil, nil, nil, 0.05)
      end
    end
  end
end
