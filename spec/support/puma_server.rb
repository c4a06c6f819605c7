# frozen_string_literal: true

require "net/http"
require "tmpdir"

# A Rack application under Puma, on a free port, in its own process and folder.
class PumaServer
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
    Process.wait(@pid)
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
