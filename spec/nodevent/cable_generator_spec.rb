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
    # It writes the secret of development.
    run("bin/rails", "runner", "Rails.application.secret_key_base")
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
    server = NodeventServer.new({}, file: File.join(@app, "config/nodevent.yml"))
    secret = Dir.glob(File.join(@app, "tmp/*_secret.txt")).first
    key = NoDevent::Cable::StreamName.derive_key(File.read(secret), "SHA256")
    # Channels and connections are those of Rails; without an application there is no welcome.
    expect(CableClient.new(server.port).last_frames.last).to include("reason" => "unavailable")
    script = <<~RUBY
      puts ApplicationController.render(inline: "", layout: "application")[/<meta name="action-cable-url".*?>/]
      key = Rails.application.key_generator.generate_key("turbo/signed_stream_verifier_key", 64)
      puts [#{key.unpack1('H*').inspect}, #{NoDevent::Cable::StreamName.derive_key(File.read(secret), 'SHA1').unpack1('H*').inspect}].include?(key.unpack1("H*"))
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
    expect(configuration["development"]["/cable"]["action_cable"].keys).to eq(["secret_key_base_file"])
    check = [{ "NODEVENT_ENV" => "development" }, NodeventServer.binary, "check", "--offline", File.join(@app, "config/nodevent.yml")]
    out, status = Open3.capture2e(*check)
    expect(status).to be_success, out
    expect(read("config/puma.rb").scan("plugin :nodevent").size).to eq(1)
    run("bin/rails", "destroy", "nodevent:cable")
    expect(snapshot).to eq(before)
  end
end
