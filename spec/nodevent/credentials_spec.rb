# frozen_string_literal: true

require "net/http"
require "nodevent/server_process"
require "tmpdir"

# Issue 18: Rails' credentials for the variables of config/nodevent.yml, in the application and in the server that Puma
# starts before it; and what an application says of its configuration when it starts.
RSpec.describe "Rails' credentials" do
  include RailsApp

  let(:secret) { "a-secret-of-the-credentials-0123" }
  let(:key) { "0123456789abcdef0123456789abcdef" }
  let(:configuration) { <<~YAML }
    development: {/nodevent: {open: true}}
    production:
      /nodevent:
        secret: ${NODEVENT_SECRET}
        publish_key: ${NODEVENT_PUBLISH_KEY:-a-default-publish-key}
        # max_key_lifetime: ${NODEVENT_LIFETIME}
  YAML

  # The text of config/credentials.yml.enc.
  def encrypted(text)
    Dir.mktmpdir do |folder|
      path = File.join(folder, "credentials.yml.enc")
      ruby(<<~RUBY, env: { "RAILS_MASTER_KEY" => key })
        require "active_support"
        require "active_support/encrypted_configuration"
        ActiveSupport::EncryptedConfiguration.new(config_path: "#{path}", key_path: "#{folder}/none",
          env_key: "RAILS_MASTER_KEY", raise_if_missing_key: true).write(#{text.inspect})
      RUBY
      File.read(path)
    end
  end

  let(:files) do
    { "config/nodevent.yml" => configuration,
      "config/credentials.yml.enc" => encrypted("nodevent:\n  secret: #{secret}\n") }
  end

  # `CLEAN` does not have the variables that production lacks.
  def app(script, **env)
    env = { "RAILS_ENV" => "production", "NODEVENT_SECRET" => nil, "RAILS_MASTER_KEY" => key, "SECRET_KEY_BASE_DUMMY" => nil }.merge(env)
    rails(script, files: files, env: env)
  end

  let(:settings) { <<~RUBY }
    config = NoDevent::Emitter.config
    def attempt = (p yield) rescue puts($!.class, $!.message.sub(/\\A.*nodevent.yml/, "nodevent.yml"))
    attempt { config.secret }
    attempt { config.publish_key }
  RUBY

  it "have the values of variables, below those of the environment, and above defaults" do
    expect(app(settings).lines(chomp: true)).to eq([secret, "a-default-publish-key"].map(&:inspect))
    expect(@rails_log).to include("nodevent: the configuration is ").and include("nodevent.yml, section production, environment production (RAILS_ENV)")
    expect(@rails_log).not_to include(secret)
    expect(app(settings, "NODEVENT_SECRET" => "another-secret-of-the-environment").lines.first).to include("another-secret")
    files["config/credentials.yml.enc"] = encrypted("nodevent: { secret: #{secret}, publish_key: a-key-of-the-credentials }\n")
    expect(app(settings).lines.last).to include("a-key-of-the-credentials")
  end

  it "are not required where an image is built, and a wrong key is reported by what needs the secret" do
    built = app("App.eager_load!; puts ActionController::Base.helpers.nodevent_url", "RAILS_MASTER_KEY" => nil, "SECRET_KEY_BASE_DUMMY" => "1")
    expect(built).to eq("http://localhost:8080/api/nodevent\n")
    expect(@rails_log).not_to match(/the environment has no|ERROR/)
    # With a wrong key, Rails itself does not start in production, and Active Record of Rails 7 does not load.
    out = app(settings, "RAILS_ENV" => "development", "NODEVENT_ENV" => "production", "RAILS_MASTER_KEY" => "f" * 32, "DATABASE_URL" => nil)
    expect(out).to include("nodevent.yml:4:13: /nodevent.secret requires the environment variable NODEVENT_SECRET: Rails' credentials cannot be " \
                           "read (ActiveSupport::MessageEncryptor::InvalidMessage)")
    expect(@rails_log).to include("the environment has no NODEVENT_SECRET (line 4)")
  end

  it "must have texts" do
    files["config/credentials.yml.enc"] = encrypted("nodevent: { secret: [1] }\n")
    expect(app(settings)).to include("`nodevent: secret` in Rails' credentials is not a text")
    files["config/credentials.yml.enc"] = encrypted("nodevent: text\n")
    expect(app(settings)).to include("requires the environment variable NODEVENT_SECRET; set it")
  end

  it "production without its variables starts, and one line of its log names all that are missing" do
    files.delete("config/credentials.yml.enc")
    files["config/nodevent.yml"] = configuration.sub("NODEVENT_PUBLISH_KEY:-a-default-publish-key", "NODEVENT_PUBLISH_KEY")
    app("puts 1", "NODEVENT_PUBLISH_KEY" => nil)
    expect(@rails_log).to match(/nodevent.yml: the environment has no NODEVENT_SECRET \(line 4\), NODEVENT_PUBLISH_KEY \(line 5\); set them, or write/)
    app("puts 1", "RAILS_ENV" => "development")
    expect(@rails_log).not_to include("the environment has no")
  end

  describe "in a server that Puma starts" do
    let(:application) { <<~RUBY }
      require "rails"
      class App < Rails::Application
        config.root = File.expand_path("..", __dir__)
      end
    RUBY

    def in_folder(files)
      Dir.mktmpdir do |folder|
        files.each do |path, text|
          FileUtils.mkdir_p(File.dirname(File.join(folder, path)))
          File.write(File.join(folder, path), text)
        end
        yield folder
      end
    end

    # What a process finds that has loaded nothing but what Puma's plugin loads.
    def found(folder, **env)
      script = <<~RUBY
        require "json"
        require "nodevent/server_process"
        reasons = []
        variables = NoDevent::Credentials.variables_of_application("config/nodevent.yml", ENV.fetch("RAILS_ENV")) { |reason| reasons << reason }
        puts JSON.generate([variables, reasons, defined?(Rails)])
      RUBY
      env = { "RAILS_ENV" => "production", "NODEVENT_SECRET" => nil, "NODEVENT_PUBLISH_KEY" => nil, "RAILS_MASTER_KEY" => key }.merge(env)
      out, status = Open3.capture2(Children::CLEAN.merge(env), RbConfig.ruby, "-I#{ROOT}/lib", "-e", script, chdir: folder)
      expect(status).to be_success
      JSON.parse(out)
    end

    it "are read by another process, which loads config/application.rb only" do
      in_folder(files.merge("config/application.rb" => application)) do |folder|
        expect(found(folder)).to eq([{ "NODEVENT_SECRET" => secret }, [], nil])
        expect(found(folder, "NODEVENT_SECRET" => "x" * 32, "NODEVENT_PUBLISH_KEY" => "y" * 16)).to eq([{}, [], nil])
        expect(found(folder, "RAILS_MASTER_KEY" => "f" * 32))
          .to match([{}, [/cannot be read \(ActiveSupport::MessageEncryptor::InvalidMessage\); check RAILS_MASTER_KEY/], nil])
        # The section of development has no variables, so no process is started for it.
        expect(found(folder, "RAILS_ENV" => "development", "RAILS_MASTER_KEY" => "f" * 32)).to eq([{}, [], nil])
        File.write(File.join(folder, "config/application.rb"), "raise 'broken'")
        expect(found(folder)).to match([{}, [/cannot be read \(RuntimeError\)/], nil])
        File.write(File.join(folder, "config/application.rb"), "exit!")
        expect(found(folder)).to match([{}, [/config.application.rb could not be loaded/], nil])
        File.delete(File.join(folder, "config/credentials.yml.enc"))
        expect(found(folder)).to eq([{}, [], nil])
      end
    end

    # A program in an application that starts the server on this port.
    def expect_a_server_with_the_secret(folder, port, *command)
      log = File.join(folder, "log")
      pid = start_in(folder, log, *command)
      eventually("the server", limit: 60) do
        raise File.read(log) if Process.wait(pid, Process::WNOHANG)

        Net::HTTP.get_response(URI("http://127.0.0.1:#{port}/healthz")) rescue nil # rubocop:disable Style/RescueModifier
      end
      expect_secret_in_the_environment(File.read(log)[/server started \(pid (\d+)\)/, 1] || pid)
      expect(File.read(log)).to include("nodevent starts").and include("production (NODEVENT_ENV)").and not_include(secret)
      expect_to_join(port, NoDevent::RoomKey.sign("r", Time.now + 60, secret))
    ensure
      begin
        Process.kill(:TERM, pid)
        Process.wait(pid)
      rescue Errno::ESRCH, Errno::ECHILD
        nil
      end
    end

    def expect_secret_in_the_environment(pid)
      expect(File.read("/proc/#{pid}/cmdline")).to include("serve").and not_include(secret)
      expect(File.read("/proc/#{pid}/environ")).to include("NODEVENT_SECRET=#{secret}")
    end

    def start_in(folder, log, *command)
      env = { "RAILS_ENV" => "production", "RAILS_MASTER_KEY" => key, "NODEVENT_SECRET" => nil, "RUBYLIB" => "#{ROOT}/lib" }
      Process.spawn(Children::CLEAN.merge(env), *command, chdir: folder, %i[out err] => log)
    end

    def not_include(text)
      satisfy("not contain the secret") { |all| !all.include?(text) }
    end

    def expect_to_join(port, signed)
      socket = WebSocket.new(port, "/socket.io/?EIO=4&transport=websocket")
      socket.next_text
      socket.send("40/nodevent,")
      socket.send(%(42/nodevent,0["join",{"room":"r","key":"#{signed}"}]))
      reply = socket.next_text until reply&.start_with?("43/nodevent,0")
      expect(reply).to include("true")
      socket.close
    end

    it "reach it through its environment, not by its arguments, with Puma's plugin and with `nodevent:serve`" do
      port = Ports.free
      own = configuration.sub("production:\n", "production:\n  bind: 127.0.0.1\n  port: #{port}\n")
      more = { "config/application.rb" => application, "config/nodevent.yml" => own,
               "config/environment.rb" => "require_relative 'application'\nrequire 'nodevent'\nApp.initialize!\n",
               "Rakefile" => "require_relative 'config/application'\nrequire 'nodevent'\nApp.load_tasks\n" }
      script = <<~RUBY
        require "nodevent/server_process"
        server = NoDevent::ServerProcess.new { |line| puts line; $stdout.flush }
        trap("TERM") { exit }
        server.stop_at_exit
        server.run
      RUBY
      in_folder(files.merge(more)) do |folder|
        expect_a_server_with_the_secret(folder, port, RbConfig.ruby, "-e", script)
        expect_a_server_with_the_secret(folder, port, "rake", "nodevent:serve")
      end
    end
  end
end
