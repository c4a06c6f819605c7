# frozen_string_literal: true

require "nodevent/doctor"

# Issue 11, sections D and I, on a real Rails application: safe and loud by default.
#
# Cases: boot, assets:precompile and other commands without the secrets of production; what `emits_changes` leaves out by
# filter_parameters (names, parts of names, regular expressions, blocks), filter_attributes, has_secure_password, an
# overridden as_json; the test environment with and without an own publisher; several namespaces; the key endpoint.
RSpec.describe "NoDevent's defaults in Rails" do
  include RailsApp

  describe "without the environment variables of production" do
    let(:files) { { "config/nodevent.yml" => <<~YAML } }
      production:
        public_url: https://live.example.com
        /nodevent:
          secret: ${NODEVENT_SECRET}
          publish_key: ${NODEVENT_PUBLISH_KEY:-}
          redis: ${REDIS_URL}
    YAML

    it "boots, and reads what needs no secret; each other use reports what is missing" do
      out = rails(<<~RUBY, files: files, env: { "RAILS_ENV" => "production" })
        $redis = nil
        def attempt = (p yield) rescue puts($!.class, $!.message.sub(/\\A.*nodevent.yml/, "nodevent.yml"))
        config = NoDevent::Emitter.config
        attempt { config["host"] }
        attempt { [config.public_url, config.namespace, config.history[:default][:size], config.inspect] }
        attempt { ActionController::Base.helpers.javascript_include_nodevent }
        attempt { config.secret }
        attempt { config.publish_key }
        attempt { NoDevent::Emitter.room_key("r", 4_102_444_800) }
        attempt { NoDevent::Emitter.emit("r", "e", 1) }
      RUBY
      missing = lambda do |place, key, variable|
        ["NoDevent::ConfigurationError",
         "nodevent.yml:#{place}: /nodevent.#{key} requires the environment variable #{variable}; set it, or write ${#{variable}:-default}"]
      end
      expect(out.lines(chomp: true)).to eq([
                                             '"https://live.example.com"',
                                             '["https://live.example.com", "/nodevent", 100, "#<NoDevent::Configuration public_url: https://live.example.com, ' \
                                             'namespace: /nodevent, secret: …, redis: …, url: https://live.example.com>"]',
                                             %("<script src='https://live.example.com/api/nodevent' type='text/javascript'></script>"),
                                             *missing.call("4:13", "secret", "NODEVENT_SECRET"),
                                             "NoDevent::ConfigurationError", "nodevent.yml:5:18: /nodevent.publish_key is empty; write a value, or remove the key",
                                             *missing.call("4:13", "secret", "NODEVENT_SECRET"), *missing.call("6:12", "redis", "REDIS_URL")
                                           ])
    end

    it "runs the commands that build an image" do
      %w[routes environment].each do |command|
        out = rails(<<~RUBY, files: files, env: { "RAILS_ENV" => "production" })
          Rails.application.load_tasks
          #{command == 'routes' ? 'require "rails/command"; App.routes.routes.size' : 'Rake::Task["environment"].invoke'}
          App.eager_load!
          puts "done"
        RUBY
        expect(out).to eq("done\n")
      end
    end
  end

  describe "for the message of emits_changes" do
    def published(model, filters: "[:passw, :secret, :token, :_key, :crypt, :salt, :certificate, :otp, :ssn]")
      out = rails(<<~RUBY)
        filters = #{filters}
        Rails.application.config.filter_parameters += filters
        ActiveRecord::Base.filter_attributes += filters
        ActiveRecord::Schema.define do
          create_table(:users) do |t|
            %w[name password_digest reset_token api_key email pin note].each { |name| t.string name }
          end
        end
        class User < ActiveRecord::Base
          include NoDevent::Base
          #{model}
        end
        user = User.create!(name: "Ada", password_digest: "x", reset_token: "t", api_key: "k", email: "a@b", pin: "1234", note: "n")
        User.find(1).update!(name: "Eva")
        RECORDER.published.each { |_, json| puts JSON.generate(json["message"]) }
      RUBY
      order = %w[id name password_digest reset_token api_key email pin note]
      out.lines.map do |line|
        message = JSON.parse(line)
        message.is_a?(Hash) ? message.sort_by { |key, _| order.index(key) || 99 }.to_h : message
      end
    end

    it "leaves out what the application filters, and reports that once" do
      messages = published("emits_changes")
      expect(messages.map(&:keys).uniq).to eq([%w[id name email pin note]])
      expect(messages.last["name"]).to eq("Eva")
      expect(@rails_log.scan(/emits_changes of User omits password_digest, reset_token, api_key, which the application filters; /).size)
        .to eq(1)
    end

    it "knows regular expressions, blocks, filter_attributes and the digests of has_secure_password" do
      expect(published("emits_changes", filters: "[/\\A(pin|note)\\z/, ->(name, value) { value.reverse! if name == 'email' }]").last.keys)
        .to eq(%w[id name password_digest reset_token api_key])
      expect(published("emits_changes; self.filter_attributes = [:name]", filters: "[]").last.keys)
        .to eq(%w[id password_digest reset_token api_key email pin note])
      digest = "def authenticate_password(*) = nil; emits_changes"
      expect(published(digest, filters: "[]").last.keys).to eq(%w[id name reset_token api_key email pin note])
    end

    it "sends the record unchanged if nothing is filtered, filters keys that as_json adds, and follows message:" do
      everything = %w[id name password_digest reset_token api_key email pin note]
      expect(published("emits_changes", filters: "[]").last.keys).to eq(everything)
      added = "emits_changes; def as_json(*) = super.merge('more' => { 'room_key' => 'k', 'x' => 1 }, 'my_token' => 1)"
      expect(published(added).last.to_a.last(2)).to eq([%w[note n], ["more", { "x" => 1 }]])
      expect(published("emits_changes message: ->(user) { user.slice(:id, :reset_token) }").last.keys).to eq(%w[id reset_token])
      expect(published("emits_changes; def as_json(*) = 'text'")).to eq(%w[text text])
    end

    it "N-93 does not apply to emit and the nodevent_ callbacks" do
      messages = published("after_create_commit :nodevent_create; after_update_commit { emit('renamed') }")
      expect(messages.map { |message| message["reset_token"] }).to eq(%w[t t])
    end
  end

  describe "in the test environment" do
    let(:script) { "$redis = nil; puts [NoDevent::Emitter.publisher.class, NoDevent::Emitter.emit('r', 'e', 1), NoDevent.stats[:queued]]" }

    def environment(settings: "", env: "test", script: self.script)
      # In the prelude the application is initialized already, so the script is a second one.
      out = Open3.capture2e(Children::CLEAN.merge("RAILS_ENV" => env, "RUBYLIB" => "#{ROOT}/lib"), *Children::LIMITED,
                            RbConfig.ruby, "-W0", "-e", <<~RUBY).first
                              require "rails"
                              require "action_controller/railtie"
                              require "nodevent"
                              class App < Rails::Application
                                config.root = "#{Dir.tmpdir}"
                                config.eager_load = false
                                config.logger = Logger.new(File::NULL)
                                #{settings}
                              end
                              App.initialize!
                              #{script}
                            RUBY
      out.lines(chomp: true)
    end

    it "records publications, unless configured otherwise" do
      expect(environment).to eq(["NoDevent::Testing::Recorder", "true", "0"])
      expect(environment(env: "development")).to eq(["NoDevent::Publisher::BackgroundPublisher", "true", "1"])
      expect(environment(settings: "config.nodevent.test_mode = false").first).to eq("NoDevent::Publisher::BackgroundPublisher")
      expect(environment(env: "development", settings: "config.nodevent.test_mode = true").first)
        .to eq("NoDevent::Testing::Recorder")
    end

    it "keeps a publisher that an initializer sets" do
      own = "initializer(:own) { NoDevent::Emitter.publisher = Struct.new(:x) { def publish(*) = 7 }.new }"
      expect(environment(settings: own, script: "p NoDevent::Emitter.emit('r', 'e', 1)")).to eq(["7"])
    end
  end

  describe "with several namespaces" do
    let(:files) { { "config/nodevent.yml" => <<~YAML } }
      public_url: https://live.example.com
      /nodevent: { secret: secret-of-nodevent }
      /board: { secret: secret-of-board }
    YAML

    it "emits, signs and renders for each" do
      out = rails(<<~RUBY, files: files)
        class SomeModel < ActiveRecord::Base
          include NoDevent::Base
          nodevent_namespace "/board"
          emits_changes message: :title
        end
        class Below < SomeModel; self.table_name = "some_models"; end
        board = NoDevent.namespace("board")
        board.emit("lobby", "open", 1)
        NoDevent::Emitter.emit("lobby", "open", 2)
        model = SomeModel.create!(title: "t")
        model.emit("e", 3)
        Below.new.class.emit("e", 4)
        RECORDER.published.each { |channel, json| puts [channel, *json.values].join(" ") }
        view = ActionController::Base.helpers
        signed = ->(room, secret) { NoDevent::RoomKey.sign(room, 4_102_444_800, secret) }
        p [board.room_key("r", 4_102_444_800) == signed.("r", "secret-of-board"),
           model.room_key(4_102_444_800) == signed.("SomeModel_1", "secret-of-board"),
           NoDevent::Emitter.room_key(model, 4_102_444_800) == signed.("SomeModel_1", "secret-of-nodevent")]
        key = ->(data) { NoDevent::Native.verify(["/board", data[:nodevent_room], data[:nodevent_key]], ["secret-of-board"], 1_000_000_000_000, nil, false).is_a?(Integer) }
        p [key.(view.nodevent_data(model)), key.(view.nodevent_data("r", namespace: "/board")), key.(view.nodevent_data("r"))]
        puts view.nodevent_url(namespace: "/board"), view.javascript_include_nodevent(namespace: "board"), board.name
        %w[/other nodevent/].each { |name| NoDevent.namespace(name) rescue puts $!.message.sub(/\\A.*nodevent.yml/, "") }
      RUBY
      expect(out).to eq(<<~TEXT)
        /board lobby open 1
        /nodevent lobby open 2
        /board SomeModel create t
        /board SomeModel_1 e 3
        /board Below e 4
        [true, true, true]
        [true, true, false]
        https://live.example.com/api/board
        <script src='https://live.example.com/api/board' type='text/javascript'></script>
        /board
        : namespace is /other, but the file contains only /nodevent, /board
        : namespace is /nodevent/, but the file contains only /nodevent, /board
      TEXT
    end

    it "publishes to the server of each through one queue per namespace" do
      server = NodeventServer.new({ "/nodevent" => {}, "/board" => {} })
      clients = %w[/nodevent /board].map { |name| NoDevent::Doctor::PollingClient.new(server.url, name, origin: server.url) }
      clients.each { |client| client.join("r") }
      NoDevent::Emitter.config = { public_url: server.url, "/nodevent" => {}, "/board" => {} }
      3.times { |number| NoDevent.namespace("/board").emit("r", "e", number) && NoDevent::Emitter.emit("r", "e", -number) }
      expect(clients.map { |client| Array.new(3) { client.publication["message"] } }).to eq([[0, -1, -2], [0, 1, 2]])
    ensure
      clients&.each(&:close)
      server&.stop
    end
  end

  describe "for keys" do
    it "mounts an endpoint whose block decides, and shows its address to pages" do
      script = <<~'RUBY'
        def post(body, path: "/nodevent/key", method: "POST", **headers)
          env = Rack::MockRequest.env_for("http://app.test#{path}", method: method, input: body, "CONTENT_TYPE" => "application/json", **headers)
          status, headers, response = App.call(env)
          text = +""
          response.each { |part| text << part }
          [status, headers.transform_keys(&:downcase)["content-type"], JSON.parse(text)]
        end
        allowed = post('{"room": "Post_1"}', "HTTP_COOKIE" => "user=ada")
        key = allowed.last.delete("key")
        p allowed, NoDevent::Native.verify(["/nodevent", "Post_1", key], ["a-secret-of-nodevent"], (Time.now.to_f * 1000).to_i, 600_000, false).is_a?(Integer)
        board = post('{"room": "Post_1"}', path: "/nodevent/key?namespace=/board", "HTTP_COOKIE" => "user=ada").last["key"]
        p NoDevent::Native.verify(["/board", "Post_1", board], ["a-secret-of-board"], (Time.now.to_f * 1000).to_i, nil, false).is_a?(Integer)
        [post('{"room": "Post_2"}', "HTTP_COOKIE" => "user=ada"), post('{"room": "Post_1"}'), post("{}"), post("no json"), post('[1]'),
         post('{"room": ""}'), post('{"room": {"a": 1}}'), post("", method: "GET"), post('{"room": "x"}' + " " * 9000),
         post('{"room": "Post_1"}', "HTTP_ORIGIN" => "https://evil.test", "HTTP_COOKIE" => "user=ada"),
         post('{"room": "Post_1"}', path: "/nodevent/key?namespace=/none", "HTTP_COOKIE" => "user=ada")].each do |status, type, json|
          puts [status, type, json["error"], json["hint"].to_s.empty?].join(" | ")
        end
        origins = %w[http://app.test https://app.test https://app.test:8443 null https://app.test.evil.test https://evil.test/app.test]
        p(origins.map { |origin| post('{"room": "Post_1"}', "HTTP_ORIGIN" => origin, "HTTP_COOKIE" => "user=ada").first })
        view = ActionController::Base.helpers
        puts view.javascript_include_nodevent, view.nodevent_data("r")[:nodevent_key_url], view.nodevent_data("r", namespace: "/board")[:nodevent_key_url]
        puts view.nodevent_room_tag("r", namespace: "/board").sub(/data-key="[^"]+"/, "")
        puts view.javascript_include_nodevent(async: true)[%r{<script src.*}]
      RUBY
      out = in_app(<<~RUBY, script)
        NoDevent.authorize(expires_after: 600) { |room, request, _namespace| request.cookies["user"] == "ada" && room == "Post_1" }
      RUBY
      expect(out).to eq(<<~TEXT)
        [200, "application/json", {}]
        true
        true
        403 | application/json | not authorized to join Post_2 | false
        403 | application/json | not authorized to join Post_1 | false
        400 | application/json | no room | false
        400 | application/json | the request is not JSON | false
        400 | application/json | no room | false
        400 | application/json | "" has no name. A room is a String, a Symbol, an Integer, a Class, a saved record, or an object with to_param or id. | false
        400 | application/json | no room | false
        405 | application/json | method not allowed | false
        413 | application/json | the request is too large | false
        403 | application/json | the request is from another origin | false
        404 | application/json | no such namespace | false
        [200, 200, 200, 403, 403, 403]
        <script src='http://localhost:8080/api/nodevent' type='text/javascript' data-nodevent-key-url='/nodevent/key'></script>
        /nodevent/key
        /nodevent/key?namespace=%2Fboard
        <meta name="nodevent-room" content="r"  data-key-url="/nodevent/key?namespace=%2Fboard">
        <script src='http://localhost:8080/api/nodevent' type='text/javascript' async data-nodevent data-nodevent-key-url='/nodevent/key'></script>
      TEXT
    end

    it "mounts nothing without NoDevent.authorize, and respects the application's own routes and root" do
      script = <<~'RUBY'
        p App.call(Rack::MockRequest.env_for("/nodevent/key", method: "POST", input: "{}")).first
        puts ActionController::Base.helpers.javascript_include_nodevent
      RUBY
      expect(in_app("", script)).to eq("404\n<script src='http://localhost:8080/api/nodevent' type='text/javascript'></script>\n")
      rooted = "config.relative_url_root = '/sub'\ninitializer(:keys) { NoDevent.authorize { true } }"
      expect(in_app("", "puts ActionController::Base.helpers.nodevent_data('r')[:nodevent_key_url]", settings: rooted))
        .to eq("/sub/nodevent/key\n")
    end

    # The output of a script in an application with this initializer.
    def in_app(initializer, script, settings: "")
      Dir.mktmpdir do |folder|
        FileUtils.mkdir_p(File.join(folder, "config", "initializers"))
        File.write(File.join(folder, "config/initializers/nodevent.rb"), initializer)
        File.write(File.join(folder, "config/nodevent.yml"),
                   "/nodevent: {secret: a-secret-of-nodevent}\n/board: {secret: a-secret-of-board}\n")
        Open3.capture2(Children::CLEAN.merge("RAILS_ENV" => "development", "RUBYLIB" => "#{ROOT}/lib"), *Children::LIMITED,
                       RbConfig.ruby, "-W0", "-e", <<~RUBY, chdir: folder).first
                         require "rails"
                         require "action_controller/railtie"
                         require "action_view/railtie"
                         require "nodevent"
                         class App < Rails::Application
                           config.root = "#{folder}"
                           config.eager_load = false
                           config.logger = Logger.new(File::NULL)
                           config.secret_key_base = "x" * 40
                           config.hosts.clear
                           config.action_dispatch.show_exceptions = Rails.version < "7.1" ? true : :all
                           config.consider_all_requests_local = false
                           #{settings}
                         end
                         App.initialize!
                         #{script}
                       RUBY
      end
    end
  end
end
