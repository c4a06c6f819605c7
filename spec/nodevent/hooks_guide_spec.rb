# frozen_string_literal: true

require "open3"
require "stringio"

# The complete example of docs/hooks.md: its configuration, its route and its handlers, with the real server.
RSpec.describe "The guide of hooks" do
  guide = File.read(File.join(ROOT, "docs/hooks.md"))[/^## A complete example$.*?(?=^## )/m]
  blocks = guide.scan(/^ {3}```(\w+)\n(.*?)^ {3}```/m).map { |kind, code| [kind, code.gsub(/^ {3}/, "")] }
  secrets = %w[NODEVENT_SECRET NODEVENT_TOKEN_SECRET NODEVENT_HOOKS_SECRET]

  # What Rails passes to the endpoint.
  def env(request)
    { "REQUEST_METHOD" => "POST", "rack.input" => StringIO.new(request.body),
      "HTTP_X_NODEVENT_SIGNATURE" => request.headers["x-nodevent-signature"] }
  end

  before do
    # The line of config/routes.rb.
    route = Object.new
    route.define_singleton_method(:mount) { |mounts| mounts }
    mounted = route.instance_eval(blocks.assoc("ruby").last)
    expect(mounted.values).to eq(["/nodevent/hooks"])
    @statuses = Queue.new
    @application = StubServer.new do |request|
      status, = mounted.keys.first.call(env(request))
      @statuses << status
      [status, ""]
    end
    yaml = blocks.assoc("yaml").last.gsub("localhost:3000", "127.0.0.1:#{@application.port}")
    secrets.each { |name| yaml = yaml.gsub("${#{name}}", "a-secret-of-#{name.downcase}-with-32-bytes") }
    @settings = YAML.safe_load(yaml)
    @server = NodeventServer.new(@settings)
    NoDevent::Emitter.config = @settings
  end

  after do
    NoDevent::Hooks.clear
    @server.stop
    @application.stop
  end

  it "notifies the application of who enters and leaves" do
    seen = Queue.new
    stub_const("Desk", Class.new { define_singleton_method(:opened) { |room, by:| seen << [:opened, room, by] } })
    job = Class.new { define_singleton_method(:perform_later) { |hash| seen << NoDevent::HookEvent.from(hash) } }
    stub_const("DeskClosedJob", job)
    Object.new.instance_eval(blocks.select { |kind, _| kind == "ruby" }.last.last)
    program = <<~JS
      import { connect } from "#{ROOT}/client/src/index.js";
      const token = #{NoDevent::Token.issue('7', rooms: ['Desk_1']).to_json};
      const NoDevent = connect({ url: #{@server.url.to_json}, token });
      const room = NoDevent.room("Desk_1");
      room.on("nodevent:enter", () => NoDevent.close());
    JS
    output, status = Open3.capture2e("node", "--input-type=module", "--eval", program, chdir: "#{ROOT}/client")
    expect(status).to be_success, output
    expect(Timeout.timeout(30) { seen.pop }).to eq([:opened, "Desk_1", "7"])
    left = Timeout.timeout(30) { seen.pop }
    expect([left.type, left.user, left.room, left.count]).to eq([:left, "7", "Desk_1", 0])
    expect(Timeout.timeout(30) { @statuses.pop }).to eq(204)
  end
end
