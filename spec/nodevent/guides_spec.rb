# frozen_string_literal: true

# The complete examples of the guides about users: their configuration, their Ruby code and their JavaScript, with the real
# server and client. mailboxes_guide_spec.rb and testing_guide_spec.rb are about theirs.
RSpec.describe "The guides about users" do
  user_class = Struct.new(:id, :name)

  def start(guide, more = {})
    settings = guide.configuration
    settings["/nodevent"].merge!(more)
    @server = NodeventServer.new(settings)
    NoDevent::Emitter.config = settings.fetch("/nodevent").merge("url" => @server.url, "namespace" => "/nodevent")
  end

  # Runs Ruby code of a guide, with local variables.
  def evaluate(code, **variables)
    scope = Object.new.instance_eval { binding }
    variables.each { |name, value| scope.local_variable_set(name, value) }
    scope.eval(code)
  end

  # The token that a template of a guide puts into the page.
  def token_in(template, user)
    helpers = Class.new { include NoDevent::Helper }.new
    code = template[/<%= (nodevent_token_tag\(.*?\)) if current_user %>/, 1]
    helpers.define_singleton_method(:current_user) { user }
    helpers.instance_eval(code)[/content="([^"]+)"/, 1]
  end

  after { @server&.stop }

  let(:ann) { user_class.new(42, "Ann") }

  it "Users: a page receives what is published to its user and to all connections" do
    guide = Guide.new("users.md")
    start(guide)
    comment = Struct.new(:mentioned_users, :author).new([ann, 43], user_class.new(7, "Bob"))
    script = "#{guide.code('js')}\nNoDevent.on('connect', () => say('connected'));"
    script = "const notify = say, warn = say;\n#{script}"
    Guide.page(@server.url, script, token: token_in(guide.code("erb"), ann)) do |page|
      expect(page.next).to eq("connected")
      evaluate(guide.code("ruby"), comment: comment)
      expect([page.next, page.next]).to eq(["Bob mentioned you", "Back in 5 minutes"])
    end
  end

  it "Presence: the application and the page know who is in the room" do
    guide = Guide.new("presence.md")
    start(guide)
    script = "const show = (members, count) => say([[...members.keys()], count]);\n#{guide.code('js')}"
    Guide.page(@server.url, script, token: token_in(guide.code("erb"), ann)) do |page|
      shown = page.next until shown == [["42"], 1]
      lines = guide.code("ruby").lines.map { |line| line[/\A(.*?) +# =>/, 1] }
      results = lines.map { |line| evaluate(line, desk: "Desk_1", user: ann) }
      expect(results).to eq([1, ["42"], true])
      connections = Guide.new("presence.md", "Connections of a user").code("ruby").lines.map { |line| line[/\A(.*?) +# =>/, 1] }
      expect(connections.map { |line| evaluate(line, user: ann) }).to eq([true, 1])
    end
  end

  it "Tokens: a page is in the room of its user, and asks the application for a token for each connection" do
    guide = Guide.new("tokens.md")
    start(guide, "publish_key" => "a-key-for-publishing-0123456789")
    stub_const("ApplicationController", Class.new { def self.before_action(*) = nil })
    evaluate("#{guide.code('ruby')}\nLiveTokensController").then { |controller| stub_const("LiveTokensController", controller) }
    # What the action renders.
    action = LiveTokensController.new
    stub_const("User", Struct.new(:id, :name))
    user = User.new(7, "Ann")
    action.define_singleton_method(:current_user) { user }
    action.define_singleton_method(:render) { |plain:| plain }
    script = <<~JS
      const notify = say;
      const document = { querySelector: () => null };
      let asked = 0;
      const fetch = async (path) => (say([path, ++asked]), { ok: true, redirected: false, text: async () => "#{action.show}" });
      #{guide.code('js', 0)}
      #{guide.code('js', 1)}
      NoDevent.socket.on("identified", ({ user }) => say(["identified", user]));
      NoDevent.room("User_7").on("join", (err) => say(["joined", err]));
      NoDevent.room("User_7").on("mention", () => NoDevent.socket.disconnect().connect());
    JS
    Guide.page(@server.url, script, token: token_in(guide.code("erb"), user)) do |page|
      lines = []
      lines << page.next until lines.include?(["joined", nil])
      expect(lines).to include(%w[identified 7])
      NoDevent::Emitter.emit("User_7", "mention", { title: "Lunch?" }, wait: true)
      lines << page.next until lines.include?("Lunch?")
      lines << page.next until lines.include?(["/live_token", 2])
      expect(lines).to include(["/live_token", 1])
    end
  end

  it "Revocation: a user who signs out loses the connection" do
    guide = Guide.new("revocation.md")
    secret = "a-secret-for-tokens-of-more-than-32-bytes"
    settings = { "token" => { "secret" => secret }, "publish_key" => "a-key-for-publishing-0123456789" }
    @server = NodeventServer.new({ "/nodevent" => settings })
    NoDevent::Emitter.config = settings.merge("url" => @server.url)
    stub_const("ApplicationController", Class.new)
    controller = evaluate("#{guide.code('ruby')}\nSessionsController")
    called = []
    session = controller.new
    user = ann
    user.define_singleton_method(:increment!) { |name| called << name }
    session.define_singleton_method(:current_user) { user }
    session.define_singleton_method(:root_path) { "/" }
    session.define_singleton_method(:reset_session) { called << :reset }
    session.define_singleton_method(:redirect_to) { |path| called << path }
    script = <<~JS
      NoDevent.socket.on("identified", ({ user }) => say(["identified", user]));
      NoDevent.socket.on("revoked", () => say("revoked"));
    JS
    Guide.page(@server.url, script, token: NoDevent::Token.issue(ann)) do |page|
      expect(page.next).to eq(%w[identified 42])
      sleep 0.01 # a token of the same millisecond counts as newer
      session.destroy
      expect([page.next, called]).to eq(["revoked", [:session_version, :reset, "/"]])
    end
  end
end
