# frozen_string_literal: true

require "etc"
require "open3"

# Runs spec files in as many processes as the machine has processors, one process per file. The largest files start
# first. Prints the output of each file when it has ended. Files that contain MEASURES_TIME run after the others, one
# at a time. Used by the tasks in spec.rake.
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
    @failed = []
    @seconds = {}
  end

  # Raises an error that names the files that failed.
  def run
    Array.new(Etc.nprocessors) { Thread.new { run_files } }.each(&:join)
    @waiting = @alone
    run_files
    puts "The slowest files: #{slowest}"
    raise "Failed: #{@failed.join(' ')}" unless @failed.empty?
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
    @failed << file unless status.success?
    puts "#{file} (#{seconds.round} s)", output
  end

  def slowest
    @seconds.max_by(5) { |_, seconds| seconds }.map { |file, seconds| "#{file} #{seconds.round} s" }.join(", ")
  end
end
