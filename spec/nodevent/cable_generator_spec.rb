# frozen_string_literal: true

require "tmpdir"

# Issue 17: a new application with Action Cable, the generator, the server, a page that receives, and the way back.
RSpec.describe "rails generate nodevent:cable" do
  around do |example|
    Dir.mktmpdir do |folder|
      @app = File.join(folder, "live")
      example.run
    end
  end

  def skipped
    %w[javascript bundle git spring listen bootsnap sprockets test system-test action-mailer action-mailbox action-text
       active-storage asset-pipeline webpack-install turbolinks].map { |part| "--skip-#{part}" }
  end

  def run(*command, env: {})
    clean = Children::CLEAN.merge("RUBYOPT" => "-W0", "RAILS_ENV" => "development")
    out, status = Open3.capture2e(clean.merge(env), *Children::LIMITED, *command,
                                  chdir: File.directory?(@app) ? @app : File.dirname(@app))
    raise "#{command.join(' ')} failed: #{out}" unless status.success?

    out
  end

  def read(path)
    File.read(File.join(@app, path))
  end

  # The text of each file that belongs to the application.
  def snapshot
    files = Dir.glob("{app,config}/**/*", base: @app).select { |path| File.file?(File.join(@app, path)) }
    files.to_h { |path| [path, File.binread(File.join(@app, path))] }
  end

  def create
    run("rails", "new", @app, *skipped)
    File.write(File.join(@app, "Gemfile"), "gem \"rails\"\ngem \"puma\"\ngem \"sqlite3\"\ngem \"nodevent\", path: \"#{ROOT}\"\n")
    # Rails writes the secret of development into a file, or has it in the credentials: since 7.2.3, if there are some.
    @secret = run("bin/rails", "runner", "print Rails.application.secret_key_base")
  end

  # Runs `bin/rails server`, without the secret in its environment, while the block runs.
  def served(port)
    log = File.join(@app, "log/served.log")
    environment = Children::CLEAN.merge("RAILS_ENV" => "development", "SECRET_KEY_BASE" => nil, "PORT" => port.to_s)
    pid = Process.spawn(environment, "bin/rails", "server", chdir: @app, pgroup: true, %i[out err] => log)
    yield -> { File.read(log) }
  ensure
    if pid
      Process.kill(:TERM, -pid)
      PumaServer.wait(pid)
    end
  end

  def ready?(port)
    Net::HTTP.get_response(URI("http://127.0.0.1:#{port}/readyz")).is_a?(Net::HTTPOK)
  rescue SystemCallError
    false
  end

  it "moves an application to the server, and `rails destroy` moves it back" do
    create
    before = snapshot
    out = run("bin/rails", "generate", "nodevent:cable")
    expect(out).to include("create  config/nodevent.yml").and include("rake nodevent:cable:check")
    expect(YAML.safe_load(read("config/cable.yml"))).to include(
      "development" => { "adapter" => "nodevent" }, "test" => { "adapter" => "test" },
      "production" => a_hash_including("adapter" => "nodevent", "channel_prefix" => "live_production")
    )
    expect(read("app/views/layouts/application.html.erb")).to match(/    <%= action_cable_meta_tag %><%# nodevent:cable %>\n\s*<.head>/)
    expect(read("config/puma.rb")).to end_with("\nplugin :nodevent\n")
    after = snapshot
    expect(run("bin/rails", "generate", "nodevent:cable")).to include("identical  config/nodevent.yml")
    expect(snapshot).to eq(after)

    port = Ports.free
    File.write(File.join(@app, "config/nodevent.yml"), read("config/nodevent.yml").gsub("8080", port.to_s))
    server = NodeventServer.new({}, file: File.join(@app, "config/nodevent.yml"), environment: { "SECRET_KEY_BASE" => @secret })
    key = NoDevent::Cable::StreamName.derive_key(@secret, "SHA256")
    # Channels and connections are those of Rails; without an application there is no welcome.
    expect(CableClient.new(server.port).last_frames.last).to include("reason" => "unavailable")
    script = <<~RUBY
      puts ApplicationController.render(inline: "", layout: "application")[/<meta name="action-cable-url".*?>/]
      key = Rails.application.key_generator.generate_key("turbo/signed_stream_verifier_key", 64)
      puts [#{key.unpack1('H*').inspect}, #{NoDevent::Cable::StreamName.derive_key(@secret, 'SHA1').unpack1('H*').inspect}].include?(key.unpack1("H*"))
      ActionCable.server.broadcast("posts", 1)
      puts NoDevent.flush, NoDevent.stats[:sent], ActionCable.server.config.mount_path.inspect
    RUBY
    File.write(File.join(@app, "tmp/script.rb"), script)
    expect(run("bin/rails", "runner", "tmp/script.rb")).to eq(<<~TEXT)
      <meta name="action-cable-url" content="ws://localhost:#{port}/cable" />
      true
      true
      1
      nil
    TEXT

    expect(run("bin/rails", "destroy", "nodevent:cable")).to include("restore  config/cable.yml")
    expect(snapshot).to eq(before)
  ensure
    server&.stop
  end

  it "adds the namespace to a configuration that is there, after the others, and removes it" do
    create
    run("bin/rails", "generate", "nodevent:install")
    before = snapshot
    run("bin/rails", "generate", "nodevent:cable")
    configuration = YAML.safe_load(read("config/nodevent.yml"), aliases: true)
    %w[development test production].each do |environment|
      expect(configuration[environment].keys.grep(%r{\A/})).to eq(%w[/nodevent /cable]), environment
    end
    expect(configuration["production"]["/cable"]["action_cable"]).to eq("secret_key_base" => "${SECRET_KEY_BASE:-}")
    # The file of Rails, if that has the secret. Otherwise Puma passes the secret to the server.
    file = %w[tmp/local_secret.txt tmp/development_secret.txt].find { |name| File.exist?(File.join(@app, name)) && read(name) == @secret }
    secret = file ? { "secret_key_base_file" => "../#{file}" } : { "secret_key_base" => "${SECRET_KEY_BASE}" }
    expect(configuration["development"]["/cable"]["action_cable"]).to eq(secret)
    check = [{ "NODEVENT_ENV" => "development", "SECRET_KEY_BASE" => @secret }, NodeventServer.binary, "check", "--offline",
             File.join(@app, "config/nodevent.yml")]
    out, status = Open3.capture2e(*check)
    expect(status).to be_success, out
    expect(read("config/puma.rb").scan("plugin :nodevent").size).to eq(1)
    run("bin/rails", "destroy", "nodevent:cable")
    expect(snapshot).to eq(before)
  end

  # Rails 8 has the secret in the credentials only, and `bin/dev` runs `bin/rails server`. foreman sets PORT.
  it "starts the server with `bin/rails server`, which passes the secret of Rails, on the port of the environment" do
    create
    run("bin/rails", "generate", "nodevent:cable")
    port = Ports.free
    application = Ports.free
    text = read("config/nodevent.yml").gsub("8080", port.to_s).gsub(/secret_key_base(_file)?: .*/, "secret_key_base: ${SECRET_KEY_BASE}")
    File.write(File.join(@app, "config/nodevent.yml"), text)
    served(application) do |log|
      eventually("the server is ready", limit: 60) { ready?(port) }
      # The application, at the port of the environment, lets the client in, as soon as it responds in time.
      eventually("a welcome", limit: 60) { CableClient.new(port).next == { "type" => "welcome" } }
    rescue StandardError => e
      raise e.class, "#{e.message}\n#{log.call}"
    end
  end
end
