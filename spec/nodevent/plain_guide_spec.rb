# frozen_string_literal: true

require "net/http"
require "open3"

# The clients of docs/plain.md in Python and Ruby, as the page has them, with real servers. Those in JavaScript are run by
# client/test/nodevent/plain_guide.test.js.
RSpec.describe "docs/plain.md" do
  # Debian's Python has the package that bin/test installs; another one on the PATH may not.
  python = ["/usr/bin/python3", "python3"].find { |path| !path.start_with?("/") || File.executable?(path) }
  commands = { "Python" => [python, "-c"], "Ruby" => [RbConfig.ruby, "-e"] }

  def publish(server, event, message)
    body = JSON.generate(room: "lobby", event: event, message: message)
    Net::HTTP.post(URI("#{server.url}/api/nodevent/emit"), body).code
  end

  # Runs a client, and yields what it has printed so far.
  def run(*command)
    Open3.popen2e(Children::CLEAN, *command) do |input, output, thread|
      input.close
      lines = []
      reader = Thread.new { output.each_line { |line| lines << line.chomp } }
      yield lines
    ensure
      Process.kill(:KILL, thread.pid)
      reader.join
    end
  end

  before do
    @redis = RedisServer.new
    settings = { "publish" => "local", "/nodevent" => { "protocol" => %w[socket_io plain], "redis" => @redis.url } }
    @near, @far = Array.new(2) { NodeventServer.new(settings, port: Ports.free) }
  end

  after { [@near, @far, @redis].each(&:stop) }

  commands.each do |language, command|
    it "has a client in #{language} that receives events, and what it missed when its server was killed" do
      code = Guide.new("plain.md", language).code(language.downcase)
      program = code.sub("ws://localhost:8080/ws/nodevent", "#{@near.url.sub('http', 'ws')}/ws/nodevent")
      expect(program).not_to eq(code)
      run(*command, program) do |lines|
        # It has joined as soon as an event arrives.
        eventually("the first event", limit: 60) { publish(@near, "first", 0) && lines.any? }
        expect(lines.first).to eq("first 0")
        @near.stop
        expect(publish(@far, "missed", 2)).to eq("200")
        @near.start
        eventually("what it missed", limit: 60) { lines.include?("missed 2") }
        expect(publish(@far, "last", 3)).to eq("200")
        eventually("the next event", limit: 60) { lines.include?("last 3") }
        expect(lines.uniq).to eq(["first 0", "missed 2", "last 3"])
      end
    end
  end
end
