# frozen_string_literal: true

# Waiting for a condition, with a limit.
module Patience
  LIMIT = ENV.key?("NODEVENT_GC_STRESS") ? 100 : 10

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  # The block's first answer that is neither nil nor false.
  def eventually(what = "the condition", limit: LIMIT)
    deadline = now + limit
    loop do
      found = yield
      return found if found
      raise "waited #{limit} s for #{what} in vain" if now > deadline

      sleep 0.005
    end
  end

  # So many, or a hundredth where a garbage collection comes with every step.
  def many(count)
    GC.stress ? count / 100 : count
  end

  module_function :now, :eventually
end
