# frozen_string_literal: true

require "digest"
require "net/http"
require "open3"

# The small programs in examples/, with the real server. e2e/web_service_spec.rb and e2e/pakyow_spec.rb run those with pages, and
# server/tests/proxies/connections.rs the configurations of nginx and NoDevent in examples/compose/.
RSpec.describe "The examples" do
  publish_key = "a-publish-key-0123456789"
  secret = "a-secret-for-the-examples-of-32-bytes"

  before(:all) do
    @server = NodeventServer.new({ "/nodevent" => { "open" => true, "publish_key" => publish_key },
                                   "/secured" => { "secret" => secret, "publish_key" => publish_key } })
  end

  after(:all) { @server.stop }

  def example(name)
    File.join(ROOT, "examples", name)
  end

  # The publications of a room of /nodevent, without their positions.
  def history(room)
    body = JSON.parse(Net::HTTP.get(URI("#{@server.url}/api/nodevent/rooms/#{room}/history")))
    body.fetch("publications").map { |publication| publication.slice("event", "message") }
  end

  describe "publisher/http_publisher.rb" do
    define_method(:publish) do |*arguments, url: @server.url, key: publish_key|
      environment = Children::CLEAN.merge("NODEVENT_URL" => url, "NODEVENT_PUBLISH_KEY" => key)
      Open3.capture3(environment, RbConfig.ruby, example("publisher/http_publisher.rb"), *arguments)
    end

    it "publishes, and prints the position" do
      output, error, status = publish("by-program", "hello", '{"text": "Hi"}')
      expect([status.exitstatus, error]).to eq([0, ""])
      expect(output).to match(/\A\h{16}:1\n\z/)
      expect(publish("by-program", "bye")[2]).to be_success
      expect(history("by-program")).to eq([{ "event" => "hello", "message" => { "text" => "Hi" } }, { "event" => "bye" }])
    end

    it "says what is wrong" do
      expect(publish("r", "e", key: "another-key-0123456789")[1]).to start_with("401: ")
      expect(publish("r")[1]).to eq("usage: http_publisher.rb ROOM EVENT [JSON]\n")
      error = publish("r", "e", url: "http://127.0.0.1:#{Ports.free}")[1]
      expect(error).to start_with("gave up after 5 attempts: ")
    end

    it "publishes once, although the first response is lost" do
      attempts = 0
      target = URI(@server.url)
      between = StubServer.new do |request|
        headers = request.headers.slice("content-type", "idempotency-key", "authorization")
        response = Net::HTTP.start(target.host, target.port) { |http| http.post(request.path, request.body, headers) }
        [response.code, response.body] if (attempts += 1) > 1
      end
      expect(publish("lost-response", "e", "1", url: between.url)[2]).to be_success
      expect([attempts, history("lost-response")]).to eq([2, [{ "event" => "e", "message" => 1 }]])
    ensure
      between&.stop
    end

    it "is a publisher of the gem" do
      require example("publisher/http_publisher.rb")
      NoDevent::Emitter.config = { "namespace" => "/nodevent" }
      NoDevent::Emitter.publisher = HttpPublisher.new(@server.url, key: publish_key)
      NoDevent::Emitter.emit("by-the-gem", "hello", { "n" => 1 })
      expect(history("by-the-gem")).to eq([{ "event" => "hello", "message" => { "n" => 1 } }])
    end
  end

  describe "curl/rooms.sh" do
    define_method(:environment) do |more = {}|
      { "NODEVENT_URL" => @server.url, "NODEVENT_PUBLISH_KEY" => publish_key, "NODEVENT_KEY" => nil, "NODEVENT_NAMESPACE" => nil,
        "IDEMPOTENCY_KEY" => nil }.merge(more)
    end

    def rooms(*arguments, input: "", **more)
      Open3.capture3(environment(more.transform_keys(&:to_s)), "sh", example("curl/rooms.sh"), *arguments, stdin_data: input)
    end

    # Reads Server-Sent Events until one has been received.
    def follow(*arguments, **more)
      command = ["sh", example("curl/rooms.sh"), "follow", *arguments]
      Open3.popen2(environment(more.transform_keys(&:to_s)), *command, pgroup: true) do |_, output, thread|
        Timeout.timeout(60) { output.each_line.find { |line| line.start_with?("data: {\"room\"") } }
      ensure
        # The shell and its curl.
        Process.kill(:KILL, -thread.pid)
      end
    end

    it "publishes, reads and follows a room" do
      first = JSON.parse(rooms("emit", "a room/1", 'say "hello"', '{"text": "Hi"}')[0])
      position = first.fetch("positions").first
      many = JSON.generate([{ room: "a room/1", event: "two" }, { room: "a room/1", event: "three" }])
      expect(JSON.parse(rooms("emit-many", input: many)[0]).fetch("positions").size).to eq(2)
      stored = ->(*since) { JSON.parse(rooms("history", "a room/1", *since)[0]).fetch("publications").map { |one| one["event"] } }
      expect([stored.call, stored.call(position)]).to eq([["say \"hello\"", "two", "three"], %w[two three]])
      expect(follow("a room/1", position)).to include('"event":"two"')
      repeated = Array.new(2) { rooms("emit", "idempotent", "e", IDEMPOTENCY_KEY: "one")[0] }
      expect([repeated.uniq.size, history("idempotent")]).to eq([1, [{ "event" => "e" }]])
    end

    it "needs a key for the rooms of a namespace with a secret" do
      expires = ((Time.now.to_f + 60) * 1000).to_i.to_s
      key = "#{Digest::SHA256.hexdigest("lobby#{expires}#{secret}")}:#{expires}"
      expect(rooms("emit", "lobby", "hello", NODEVENT_NAMESPACE: "secured")[2]).to be_success
      with_key = { NODEVENT_NAMESPACE: "secured", NODEVENT_KEY: key }
      position = JSON.parse(rooms("history", "lobby", **with_key)[0]).fetch("position")
      expect(position).to match(/\A\h{16}:1\z/)
      expect(follow("lobby", position.sub(/:1\z/, ":0"), **with_key)).to include('"event":"hello"')
      output, error, status = rooms("history", "lobby", NODEVENT_NAMESPACE: "secured")
      expect(status).not_to be_success
      expect([JSON.parse(output), error]).to match([include("error", "hint"), include("40")])
    end

    it "fails with the server's reason, and with its usage" do
      output, _, status = rooms("emit", "lobby", "hello", NODEVENT_PUBLISH_KEY: "another-key-0123456789")
      expect([JSON.parse(output).key?("hint"), status.success?]).to eq([true, false])
      expect(rooms("subscribe")).to match(["", start_with("usage: rooms.sh"), have_attributes(exitstatus: 64)])
      expect(rooms("emit", "lobby")[2]).not_to be_success
    end
  end

  describe "compose/" do
    let(:compose) { YAML.safe_load(File.read(example("compose/compose.yml")), aliases: true) }
    let(:services) { compose.fetch("services") }

    it "names images by digest, files that exist, and services of its own" do
      services.each_value do |service|
        build = service["build"]
        if build
          context = File.expand_path(build.fetch("context"), example("compose"))
          expect([context, File.file?(File.join(context, build.fetch("dockerfile")))]).to eq([ROOT, true])
        else
          expect(service.fetch("image")).to match(/@sha256:\h{64}\z/)
        end
        expect(service.fetch("depends_on", []) - services.keys).to eq([])
        service.fetch("volumes", []).each do |volume|
          source, = volume.split(":")
          exists = source.start_with?(".") ? File.file?(example("compose/#{source}")) : compose.fetch("volumes").key?(source)
          expect([source, exists]).to eq([source, true])
        end
      end
    end

    it "has configurations of nginx and NoDevent that fit" do
      file = example("compose/nodevent.yml")
      written = File.read(file)
      settings = YAML.safe_load(written)
      servers = services.keys.grep(/\Anodevent/).sort
      upstream = File.read(example("compose/nginx.conf")).scan(/^  server (\S+);/).flatten
      expect(upstream.sort).to eq(servers.map { |name| "#{name}:#{settings.fetch('port')}" })
      expect(URI(settings.dig("/nodevent", "redis", "url")).host).to eq("redis")
      variables = written.scan(/\$\{(\w+)/).flatten.uniq
      servers.each { |name| expect(services[name].fetch("environment").keys).to match_array(variables) }
      expect(servers.map { |name| services[name].fetch("stop_grace_period").to_i }).to all(be > settings.fetch("drain_timeout").to_i)
      environment = variables.to_h { |name| [name, "a-secret-for-#{name}-of-32-bytes"] }
      output, status = Open3.capture2e(environment, NodeventServer.binary, "check", "--offline", file)
      expect([status.success?, output]).to match([true, satisfy { |text| !text.match?(/warning/i) }])
    end
  end
end
