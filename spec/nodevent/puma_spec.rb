# frozen_string_literal: true

require "net/http"
require "tmpdir"

RSpec.describe "NoDevent under Puma" do
  # A publication in the master before the fork, and one for each request in a worker: the native thread of the master
  # is not in the workers, and none of them may miss it.
  it "N-104 publishes from every worker of a cluster with preload_app!" do
    listener = Listener.new(RedisServer.shared, "/nodevent")
    port = Ports.free
    Dir.mktmpdir do |folder|
      File.write(File.join(folder, "config.ru"), <<~RUBY)
        require "nodevent"
        NoDevent::Emitter.config = { redis: { port: #{RedisServer.shared.port} } }
        NoDevent::Emitter.emit("puma", "master", Process.pid, wait: true)
        run(lambda do |env|
          NoDevent::Emitter.emit("puma", "request", [env["QUERY_STRING"], Process.pid])
          [200, {}, [Process.pid.to_s]]
        end)
      RUBY
      command = %W[puma --workers 2 --preload --threads 2:2 --bind tcp://127.0.0.1:#{port} config.ru]
      puma = Process.spawn({ "RUBYLIB" => "#{ROOT}/lib" }, *command, chdir: folder, out: File::NULL, err: File::NULL)
      get = ->(number) { Net::HTTP.get(URI("http://127.0.0.1:#{port}/?#{number}")) }
      eventually("puma", limit: 30) { get.call("up") rescue nil } # rubocop:disable Style/RescueModifier
      responses = Array.new(40) { |number| Thread.new { [number.to_s, get.call(number).to_i] } }.map(&:value)
      expect(listener.publication).to include("event" => "master")
      received = []
      received << listener.publication["message"] until received.size >= 41
      expect(received.drop(1).sort).to eq(responses.sort)
    ensure
      Process.kill(:TERM, puma)
      Process.wait(puma)
    end
  ensure
    listener.stop
  end
end
