# frozen_string_literal: true

module E2E
  # Waits for a condition, with a timeout.
  module Waiting
    LIMIT = 20 # seconds; the machine may be compiling at the same time

    module_function

    # The block's first truthy result; raises with `what` after the timeout.
    def eventually(what, within: LIMIT)
      give_up = Process.clock_gettime(Process::CLOCK_MONOTONIC) + within
      loop do
        value = yield
        return value if value
        raise "#{what}: timeout after #{within} s" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > give_up

        IO.select(nil, nil, nil, 0.05)
      end
    end
  end
end
