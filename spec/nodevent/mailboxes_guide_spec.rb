# frozen_string_literal: true

require "open3"

# The complete example of docs/mailboxes.md: its configuration, its Ruby code and its JavaScript, with the real server and
# client.
RSpec.describe "The guide of mailboxes" do
  guide = File.read(File.join(ROOT, "docs/mailboxes.md"))[/^## A complete example$.*?(?=^## )/m]
  blocks = guide.scan(/^ {3}```(\w+)\n(.*?)^ {3}```/m).to_h.transform_values { |code| code.gsub(/^ {3}/, "") }
  token_secret = "a-secret-for-tokens-of-more-than-32-bytes"
  key = "a-key-for-publishing-of-32-bytes"

  before(:all) do
    yaml = blocks.fetch("yaml").sub("${NODEVENT_TOKEN_SECRET}", token_secret).sub("${NODEVENT_PUBLISH_KEY}", key)
    @settings = YAML.safe_load(yaml)
    @server = NodeventServer.new(@settings)
  end

  after(:all) { @server.stop }

  # A page of the user that runs the guide's code, sees `count` messages, and acknowledges them.
  def page(script, user, count)
    program = <<~JS
      import { connect } from "#{ROOT}/client/src/index.js";
      const NoDevent = connect({ url: "#{@server.url}", token: "#{NoDevent::Token.issue(user)}" });
      const seen = [], counts = [];
      const showMention = (text, { onSeen }) => { seen.push(text); onSeen(); };
      const showBadge = (unread) => counts.push(unread);
      #{script}
      const timer = setInterval(() => {
        if (!NoDevent.connected() || seen.length < #{count} || NoDevent.inbox._acknowledged.size) return;
        clearInterval(timer);
        console.log(JSON.stringify({ seen, unread: counts.at(-1) }));
        NoDevent.close();
      }, 10);
    JS
    output, error, status = Open3.capture3("node", "--input-type=module", "--eval", program, chdir: "#{ROOT}/client")
    raise error unless status.success?

    JSON.parse(output)
  end

  it "delivers a message to a page that is opened later, and only until it is acknowledged" do
    NoDevent::Emitter.config = @settings.fetch("/nodevent").merge("url" => @server.url, "namespace" => "/nodevent")
    user = Struct.new(:id).new(7)
    # The server knows the user from now on.
    expect(page(blocks.fetch("js"), user, 0)).to eq("seen" => [], "unread" => 0)
    ids = Array.new(2) { user.instance_eval { binding }.tap { |scope| scope.local_variable_set(:user, user) }.eval(blocks.fetch("ruby")) }
    expect(ids.uniq).to match([/\A\d+\z/])
    expect(page(blocks.fetch("js"), user, 1)).to eq("seen" => ["Ann: Lunch?"], "unread" => 0)
    expect(page(blocks.fetch("js"), user, 0)).to eq("seen" => [], "unread" => 0)
  end
end
