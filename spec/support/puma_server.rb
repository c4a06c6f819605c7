# frozen_string_literal: true

require "net/http"
require "tmpdir"

# A Rack application under Puma, on a free port, in its own process and folder.
class PumaServer
  class << self
    # Waits until a terminated Puma has ended. With Ruby 3.3, Puma 6 sometimes never ends: all requests have ended, and
    # its thread waits forever while it closes its own pipe (puma/puma#3677). Then it is killed.
    # @param pid [Integer] of a child process
    def wait(pid)
      started = Waiting.now
      Waiting.eventually("the end of puma #{pid}", limit: 60) do
        Process.kill(:KILL, pid) if Waiting.now - started > 10 && stuck?(pid)
        Process.wait(pid, Process::WNOHANG)
      end
    rescue RuntimeError
      Process.kill(:KILL, pid)
      Process.wait(pid)
      raise
    end

    private

    # Whether Puma's server is still there, and none of the threads that it closes before the pipe.
    def stuck?(pid)
      names = Dir["/proc/#{pid}/task/*/comm"].map { |file| File.read(file).chomp }
      names.include?("puma srv") && names.grep(/\Apuma (srv tp|reactor)/).empty?
    rescue SystemCallError
      false
    end
  end

  attr_reader :port, :folder, :pid

  # @param rackup [String] the text of config.ru
  # @param env [Hash{String => String}]
  # @param port [Integer] a free one
  # @param path [String] a path to which it responds
  # @param options [Array<String>] more arguments of Puma
  def initialize(rackup, env: {}, port: Ports.free, path: "/", options: %w[--threads 4:4])
    @port = port
    @folder = Dir.mktmpdir
    @log = File.join(@folder, "log")
    File.write(File.join(@folder, "config.ru"), rackup)
    command = ["puma", "--bind", "tcp://127.0.0.1:#{port}", *options, "config.ru"]
    environment = Children::CLEAN.merge("RUBYLIB" => "#{ROOT}/lib", "RACK_ENV" => "development").merge(env)
    @pid = Process.spawn(environment, *command, chdir: @folder, %i[out err] => @log)
    Waiting.eventually("puma on #{port}", limit: 60) { responds?(path) }
  rescue StandardError => e
    stop if @pid
    raise e.class, "#{e.message}\n#{log}"
  end

  def url
    "http://127.0.0.1:#{port}"
  end

  # The files and sockets that its process has open.
  def descriptors
    Dir.children("/proc/#{@pid}/fd").size
  end

  # What it has written to its output.
  def log
    File.exist?(@log) ? File.read(@log) : ""
  end

  def stop
    Process.kill(:TERM, @pid)
    PumaServer.wait(@pid)
  rescue Errno::ESRCH, Errno::ECHILD
    nil
  ensure
    FileUtils.rm_rf(@folder)
  end

  private

  def responds?(path)
    raise "puma has ended" if Process.wait(@pid, Process::WNOHANG)

    Net::HTTP.get_response(URI("#{url}#{path}"))
  rescue SystemCallError
    nil
  end
end
