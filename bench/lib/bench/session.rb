# frozen_string_literal: true

module Bench
  # A separate session for a run, with a high scheduling priority, so that other activity of the machine disturbs it
  # less. It contains all servers and the load generator.
  module Session
    PRIORITY = "/proc/self/autogroup"

    # Runs the block in a child process with its own session, and exits with its status.
    def self.run
      child = fork do
        Process.setsid
        raise_priority
        yield
      end
      %w[INT TERM].each { |signal| trap(signal) { Process.kill(:TERM, child) } }
      Process.wait(child)
      exit($CHILD_STATUS&.exitstatus || 1)
    end

    def self.raise_priority
      File.write(PRIORITY, "-19")
    rescue SystemCallError
      warn "Only root can raise the priority of this run; expect more noise."
    end
    private_class_method :raise_priority
  end
end
