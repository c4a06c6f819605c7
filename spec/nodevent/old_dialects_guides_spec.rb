# frozen_string_literal: true

require "digest"
require "net/http"
require "open3"
require "shellwords"

# The guides for users of TURTED and realtime-notifications: their configurations, pages, requests and Ruby code, with the real
# server and the stock client.
RSpec.describe "The guides of the old dialects" do
  # The blocks of a guide, by language, in their order.
  def blocks(guide, language)
    fences = File.read(File.join(ROOT, "docs", guide)).scan(/^```(\w*)\n(.*?)^```$/m)
    fences.select { |name, _| name == language }.map(&:last)
  end

  # A page in Node, which prints what it receives until its input ends.
  def page(script)
    client = File.join(ROOT, "e2e/socket_io")
    program = <<~JS
      import { io as stock } from "socket.io-client";
      import { Turted } from "./support/turted_client.js";
      const print = (...values) => console.log(JSON.stringify(values));
      process.stdin.resume().on("end", () => process.exit());
      #{script}
    JS
    Open3.popen3("node", "--input-type=module", "--eval", program, chdir: client) do |input, output, error, _|
      yield output
    rescue StandardError, RSpec::Expectations::ExpectationNotMetError => e
      input.close
      raise e, "#{e.message}\n#{error.read}"
    end
  end

  def line(output)
    Timeout.timeout(30) { JSON.parse(output.gets) }
  end

  describe "docs/from-turted.md" do
    password = "IamAllowed2PUSH!!!"

    before(:all) do
      yaml = blocks("from-turted.md", "yaml").first
      yaml = yaml.sub("${TURTED_TOKEN_PREFIX}", "a-prefix-of-tokens").sub("${TURTED_PUSH_PASSWORD}", "IamAllowed2PUSH!!!")
      @settings = YAML.safe_load(yaml)
      # The ports of the guide may be in use.
      @push_port = TCPServer.open("127.0.0.1", 0) { |server| server.addr[1] }
      @settings["port"] = 0
      @settings["/"]["turted"]["push"]["port"] = @push_port
      @server = NodeventServer.new(@settings)
    end

    after(:all) { @server.stop }

    it "lets the page receive what PHP, Ruby and the command push" do
      token = Digest::SHA256.hexdigest("a-prefix-of-tokensxosofox")
      script = blocks("from-turted.md", "js").first
      script = script.sub("new TURTED(\"http://localhost:19195\")", "new Turted(\"#{@server.url}\", stock)")
      page("const token = #{token.to_json};\nconst show = print;\n#{script}turted.socket.on('OK', (data) => print(data));") do |output|
        expect([line(output), line(output)]).to eq([[{ "username" => "xosofox" }], [{ "channel" => "chat" }]])
        push_from_php
        expect(line(output)).to eq(["Hello"])
        ruby = blocks("from-turted.md", "ruby").first.sub("http://localhost:7117", "http://127.0.0.1:#{@push_port}")
        ruby = ruby.sub('ENV.fetch("TURTED_PUSH_PASSWORD")', password.inspect)
        eval(ruby) # rubocop:disable Security/Eval
        expect(Array.new(4) { line(output) }).to eq([["Hello"]] * 4)
        command = blocks("from-turted.md", "").find { |text| text.start_with?("nodevent push") }
        words = command.shellsplit.drop(1)
        url = "http://127.0.0.1:#{@push_port}"
        environment = { "TURTED_PUSH_PASSWORD" => password }
        expect(Open3.capture3(environment, NodeventServer.binary, *words, "--url", url).first).to eq("OK\n")
        expect(line(output)).to eq(["Hello"])
      end
    end

    it "says why SockJS does not work (T-48)" do
      expect(File.read(File.join(ROOT, "docs/from-turted.md"))).to include("**SockJS does not work.**")
      expect(Net::HTTP.get_response(URI("#{@server.url}/sockjs/info")).code).to eq("404")
    end

    # Sends what the PHP code of the guide sends: its array is read from the text.
    def push_from_php
      php = blocks("from-turted.md", "php").find { |code| code.include?("json_encode") }
      array = php[/json_encode\((\[.*?\])\);/m, 1].gsub('getenv("TURTED_PUSH_PASSWORD")', '"IamAllowed2PUSH!!!"')
      array = array.gsub(/\[(?=\s*"[^"]+" =>)/, "{").gsub("=>", ":").gsub(/,(\s*\])/, '\1')
      # What began with a key is an object, and ends with a brace.
      depth = []
      json = array.each_char.map do |char|
        depth.push(char) if "[{".include?(char)
        char = { "[" => "]", "{" => "}" }.fetch(depth.pop) if char == "]"
        char
      end.join
      response = Net::HTTP.post(URI("http://127.0.0.1:#{@push_port}/push/"), JSON.generate(JSON.parse(json)))
      expect([response.code, response.body]).to eq(%w[200 OK])
    end
  end

  describe "docs/from-realtime-notifications.md" do
    before(:all) do
      @redis = RedisServer.new
      yaml = blocks("from-realtime-notifications.md", "yaml").first
      @settings = YAML.safe_load(yaml.sub("${REDIS_URL:-redis://localhost:6379/0}", "redis://127.0.0.1:#{@redis.port}/0"))
      @settings["port"] = 0
      @settings["/"]["publish_key"] = "a-publish-key-0123456789"
      @settings["/"]["notifications"]["http"] = true
      @server = NodeventServer.new(@settings)
    end

    after(:all) do
      @server.stop
      @redis.stop
    end

    it "lets the page receive what is published in Redis and over HTTP" do
      script = blocks("from-realtime-notifications.md", "html").first[%r{<script>\n(.*?)</script>}m, 1]
      script = script.sub("io()", "stock(\"#{@server.url}\")").sub("console.log", "print")
      expect(Net::HTTP.get(URI(@server.url))).to include("Connection Status")
      page(script) do |output|
        # `channel` is undefined, which JSON does not have.
        expect(line(output)).to eq([nil, "Welcome!"])
        # Until the page has subscribed, texts reach no page.
        sender = Thread.new do
          loop do
            system("redis-cli", "-p", @redis.port.to_s, "PUBLISH", "notif", "hello", out: File::NULL)
            sleep 0.1
          end
        end
        begin
          expect(line(output)).to eq(%w[notif hello])
        ensure
          sender.kill.join
        end
        key = { "Authorization" => "Bearer a-publish-key-0123456789" }
        Net::HTTP.post(URI("#{@server.url}/notifications/notif"), "over HTTP", key)
        received = line(output) until received == ["notif", "over HTTP"]
      end
    end
  end
end
