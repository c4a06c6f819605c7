# frozen_string_literal: true

require "etc"
require "open3"
require_relative "failed_tests"

# Runs spec files in as many processes as the machine has processors, one process per file. The largest files start
# first. Prints the output of each file when it has ended. Files that contain MEASURES_TIME run after the others, one
# at a time. A few failed examples run once more at the end (see FailedTests). Used by the tasks in spec.rake.
class ParallelSpecs
  # The comment of files whose examples fail if other processes need the processors.
  MEASURES_TIME = "# Measures time."

  # files: an Array of paths. options: an Array of RSpec's options. environment: a Hash of variables.
  def initialize(files, options: [], environment: {})
    @alone, @waiting = files.sort_by { |file| -File.size(file) }.partition do |file|
      File.read(file).include?(MEASURES_TIME)
    end
    @options = options
    @environment = environment
    @lock = Mutex.new
    @failed = {}
    @seconds = {}
  end

  # Raises an error that names the files that failed.
  def run
    Array.new(Etc.nprocessors) { Thread.new { run_files } }.each(&:join)
    @waiting = @alone
    run_files
    puts "The slowest files: #{slowest}"
    raise "Failed: #{@failed.keys.join(' ')}" unless passed?
  end

  private

  def run_files
    while (file = @lock.synchronize { @waiting.shift })
      started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      output, status = Open3.capture2e(@environment, "rspec", *@options, file)
      seconds = Process.clock_gettime(Process::CLOCK_MONOTONIC) - started
      @lock.synchronize { report(file, output, status, seconds) }
    end
  end

  def report(file, output, status, seconds)
    @seconds[file] = seconds
    @failed[file] = FailedTests.of(output, ["rspec", *@options]) unless status.success?
    puts "#{file} (#{seconds.round} s)", output
  end

  # Whether no example failed, or all that failed pass now. A file that cannot be loaded has no failed examples.
  def passed?
    @failed.empty? || (@failed.values.none?(&:empty?) && FailedTests.rerun(@failed.values.flatten,
                                                                           environment: @environment).zero?)
  end

  def slowest
    @seconds.max_by(5) { |_, seconds| seconds }.map { |file, seconds| "#{file} #{seconds.round} s" }.join(", ")
  end
end
