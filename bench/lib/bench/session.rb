# frozen_string_literal: true

module Bench
  # A session of its own for a run, which the scheduler can favour: what else the machine does disturbs less. It is
  # the same for every server and for the generator.
  module Session
    FAVOUR = "/proc/self/autogroup"

    # Runs the block in a child with a session of its own, and ends as it does.
    def self.run
      child = fork do
        Process.setsid
        favour
        yield
      end
      %w[INT TERM].each { |signal| trap(signal) { Process.kill(:TERM, child) } }
      Process.wait(child)
      exit($CHILD_STATUS&.exitstatus || 1)
    end

    def self.favour
      File.write(FAVOUR, "-19")
    rescue SystemCallError
      warn "Only root can favour this run over what else the machine does; expect more noise."
    end
    private_class_method :favour
  end
end
