# frozen_string_literal: true

# Issue 12, attack 14, the gem's half: no reply of a Redis crashes the Rails process, or raises an error that is not
# ours. The server's half is in `server/tests/attacks/hostile_redis.rs`.
RSpec.describe "A hostile Redis" do
  replies = {
    "nested arrays" => "*1\r\n" * 200_000,
    "nested arrays that end" => "#{"*1\r\n" * 250_000}:1\r\n",
    "nested maps" => "%1\r\n" * 200_000,
    "nested sets" => "~1\r\n" * 200_000,
    "nested pushes" => ">1\r\n" * 200_000,
    "nested attributes" => "|1\r\n" * 200_000,
    "wide nested arrays" => "*1000000\r\n" * 100_000,
    "a giant array" => "*9223372036854775807\r\n",
    "a negative array" => "*-9223372036854775808\r\n",
    "a giant text" => "$9223372036854775807\r\nx",
    "another protocol" => "HTTP/1.1 200 OK\r\n\r\n",
    "an endless line" => "+" * 1_000_000
  }

  # Replies with `reply` to the command with this number, and to each later one; to earlier ones like Redis.
  def hostile(reply, after)
    listener = TCPServer.new("127.0.0.1", 0)
    thread = Thread.new do
      loop do
        Thread.new(listener.accept) do |socket|
          count = 0
          loop do
            socket.readpartial(65_536)
            count += 1
            socket.write(count > after ? reply : "+OK\r\n")
          end
        rescue IOError, SystemCallError
          nil
        end
      end
    end
    yield listener.addr[1]
  ensure
    thread.kill
    listener.close
  end

  replies.each do |name, reply|
    it "cannot crash the process with #{name}" do
      [0, 2].each do |after|
        hostile(reply, after) do |port|
          out = ruby(<<~RUBY)
            require "nodevent"
            NoDevent.logger = Class.new { def warn(*) = nil; alias info warn; alias error warn }.new
            NoDevent::Emitter.config = { redis: { port: #{port} }, publisher: { shutdown_timeout: "100ms" } }
            begin
              NoDevent::Emitter.emit("r", "e", 1, wait: true, timeout: 1.5)
            rescue NoDevent::PublishError
              puts "raised"
            end
            begin
              NoDevent::Emitter.emit("r", "e", 2)
              puts NoDevent.flush(0.5)
            rescue NoDevent::Error => e
              puts e.class
            end
            print File.read("/proc/self/status")[/VmRSS:\\s+(\\d+)/, 1].to_i / 1024
          RUBY
          expect(out.lines.first).to eq("raised\n")
          expect(out.lines.last.to_i).to be < 200
        end
      end
    end
  end
end
