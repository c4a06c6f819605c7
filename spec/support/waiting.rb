# frozen_string_literal: true

# Waits for a condition, with a timeout.
module Waiting
  LIMIT = ENV.key?("NODEVENT_GC_STRESS") ? 100 : 10

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  # The block's first truthy result.
  def eventually(what = "the condition", limit: LIMIT)
    deadline = now + limit
    loop do
      found = yield
      return found if found
      raise "timeout after #{limit} s: #{what}" if now > deadline

      sleep 0.005
    end
  end

  # `count`, or a hundredth of it with a garbage collection at every allocation.
  def many(count)
    GC.stress ? count / 100 : count
  end

  module_function :now, :eventually
end
