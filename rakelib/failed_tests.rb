# frozen_string_literal: true

require "open3"

# Finds the failed tests in the output of a test runner, and runs them once more. Used by bin/rerun-failures and
# ParallelSpecs.
module FailedTests
  # One failed test: its name, and the Array of arguments of the command that runs only this test.
  Failure = Struct.new(:name, :command)

  # With more failures, the cause is not a busy machine: nothing runs again.
  LIMIT = 6

  # What a run of one test prints if it ran at all and passed.
  PASSED = { "cargo" => /^test result: ok\. [1-9]/, "rspec" => /^[1-9]\d* examples?, 0 failures/,
             "node" => /^# pass [1-9]/ }.freeze

  # The line of cargo before the output of a test program, and of a failed test in it.
  PROGRAM = %r{^ +Running (?:unittests )?(\S+) \(\S*?([^/\s]+)-\h+\)|^ +(Doc-tests) }
  CARGO = /^test (\S+) \.\.\. FAILED$|^test (\S+) - .* \.\.\. FAILED$/
  CARGO_COUNT = /^test result: FAILED\. \d+ passed; (\d+) failed/
  # RSpec quotes ids for some shells.
  RSPEC = /^rspec '?([^'\s]+)'?/
  RSPEC_COUNT = /^\d+ examples?, (\d+) failures?/
  NODE = /^not ok \d+ - (.*)\n(?:  .*\n)*?  location: '(.*):\d+:\d+'/

  class << self
    # The failures in what a command printed. Empty if it failed for another reason too, such as a compiler error or a
    # test program that was killed: then the failures are not all that is wrong.
    def of(output, command)
      output = output.dup.force_encoding(Encoding::UTF_8).scrub.gsub(/\e\[[\d;]*m/, "")
      case command.first
      when "cargo" then complete_of_cargo?(output) ? of_cargo(output, command) : []
      when "rspec" then complete_of_rspec?(output) ? of_rspec(output, command) : []
      else complete_of_node?(output) ? of_node(output) : []
      end
    end

    # Runs the failed tests once more, one after the other. Returns the exit status: 0 if all pass.
    def rerun(failures, environment: {})
      if failures.size > LIMIT
        puts "#{failures.size} tests failed. With more than #{LIMIT}, none runs again."
        return 1
      end
      failures.map { |failure| passes?(failure, environment) }.all? ? 0 : 1
    end

    private

    # Whether the failed tests explain the failure of every test program.
    def complete_of_cargo?(output)
      counts = output.scan(CARGO_COUNT).flatten.map(&:to_i)
      programs = output.scan(/^error: (?:doc)?test failed, to rerun/).size
      counts.sum == output.scan(CARGO).size && programs == counts.size
    end

    def complete_of_rspec?(output)
      counted = output.scan(RSPEC_COUNT).flatten.last.to_i
      !output.match?(/errors? occurred outside of examples/) && counted == output.scan(RSPEC).uniq.size
    end

    def complete_of_node?(output)
      output.scan(/^not ok /).size == output.scan(NODE).size
    end

    def passes?(failure, environment)
      output, status = Open3.capture2e(environment, *failure.command)
      # A command that finds no test succeeds too.
      passed = status.success? && output.match?(PASSED.fetch(failure.command.first))
      puts output unless passed
      puts passed ? "flaky: #{failure.name}" : "failed twice: #{failure.name}"
      passed
    end

    # Each example by its place, with the options of the command but without its files.
    def of_rspec(output, command)
      options = command.reject { |argument| File.exist?(argument) }
      output.scan(RSPEC).flatten.uniq.map { |id| Failure.new(id, [*options, id]) }
    end

    # Each test by its exact name in its own program.
    def of_cargo(output, command)
      program = nil
      output.each_line.filter_map do |line|
        if (match = PROGRAM.match(line))
          program = match[3] ? ["--doc"] : selection(match[1], match[2], command)
          nil
        elsif program && (match = CARGO.match(line))
          name = match[1] || match[2]
          Failure.new(name, ["cargo", "test", *options(command), *program, "--", *(["--exact"] unless match[2]), name])
        end
      end
    end

    # The options of cargo that select one test program, in the packages of the command: others would be compiled with
    # other features.
    def selection(source, program, command)
      package = command.index("--package")
      target = { "src/lib.rs" => ["--lib"], "src/main.rs" => ["--bins"] }.fetch(source, ["--test", program])
      [*(command[package, 2] if package), *target]
    end

    # Those that decide what is compiled.
    def options(command)
      command & %w[--locked --workspace]
    end

    # The files of the failed tests: names in Node are no patterns, and files are short.
    def of_node(output)
      output.scan(NODE).group_by(&:last).map do |file, tests|
        Failure.new(tests.map(&:first).join(", "), ["node", "--test", "--test-timeout=300000", file])
      end
    end
  end
end
