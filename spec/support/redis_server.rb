# frozen_string_literal: true

# A real Redis on a free port, which can be stopped, killed and restarted.
class RedisServer
  # The environment can select another version, or Valkey.
  PROGRAM = ENV.fetch("NODEVENT_TEST_REDIS", "redis-server")

  attr_reader :port, :pid

  def self.shared
    @shared ||= new
  end

  def self.stop_shared
    @shared&.stop
  end

  def initialize(port: Ports.free, options: [], program: PROGRAM)
    @program = program
    @port = port
    @options = options
    start
  end

  def start
    @pid = Process.spawn(@program, "--port", port.to_s, "--save", "", "--appendonly", "no",
                         "--bind", "127.0.0.1", *@options, out: File::NULL, err: File::NULL)
    Waiting.eventually("redis-server on #{port}") { accepts? }
  end

  # Like a power failure.
  def kill
    Process.kill(:KILL, pid)
    Process.wait(pid)
  end

  def stop
    Process.kill(:TERM, pid)
    Process.wait(pid)
  rescue Errno::ESRCH, Errno::ECHILD
    nil
  end

  # Accepts connections and does not respond.
  def freeze_up
    Process.kill(:STOP, pid)
  end

  def thaw
    Process.kill(:CONT, pid)
  end

  def client(**options)
    Redis.new(host: "127.0.0.1", port: port, **options)
  end

  def url
    "redis://127.0.0.1:#{port}"
  end

  private

  def accepts?
    TCPSocket.new("127.0.0.1", port).close
    true
  rescue SystemCallError
    false
  end
end

# A Redis Sentinel.
class RedisSentinel < RedisServer
  def initialize(file)
    @file = file
    super()
  end

  def start
    @pid = Process.spawn(PROGRAM, @file, "--sentinel", "--port", port.to_s, out: File::NULL, err: File::NULL)
    Waiting.eventually("sentinel on #{port}") { accepts? }
  end
end
