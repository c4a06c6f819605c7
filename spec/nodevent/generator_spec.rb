# frozen_string_literal: true

require "tmpdir"

# A new application, the generator, the server, and a message that arrives, as in the README.
RSpec.describe "rails generate nodevent:install" do
  around do |example|
    Dir.mktmpdir do |folder|
      @app = File.join(folder, "live")
      example.run
    end
  end

  # The parts of Rails that require a network or another program.
  def skipped
    %w[javascript bundle git spring listen bootsnap sprockets test system-test action-cable action-mailer action-mailbox
       action-text active-storage asset-pipeline webpack-install turbolinks].map { |part| "--skip-#{part}" }
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

  it "makes a new application live" do
    run("rails", "new", @app, *skipped)
    gemfile = "gem \"rails\"\ngem \"puma\"\ngem \"sqlite3\"\n" \
              "gem \"nodevent\", path: \"#{ROOT}\"\n"
    File.write(File.join(@app, "Gemfile"), gemfile)
    out = run("bin/rails", "generate", "nodevent:install")
    expect(out).to include("create  config/nodevent.yml").and include("If events do not arrive: `rake nodevent:doctor`")
    expect(read("config/puma.rb")).to end_with("\nplugin :nodevent\n")
    expect(File.exist?(File.join(@app, "Procfile.dev"))).to be(false)
    layout = "app/views/layouts/application.html.erb"
    expect(read(layout)).to match(/    <%= javascript_include_nodevent async: true %>\n\s*<.head>/)

    run("bin/rails", "generate", "nodevent:install", "--force")
    expect(read(layout).scan("javascript_include_nodevent").size).to eq(1)
    expect(read("config/puma.rb").scan("plugin :nodevent").size).to eq(1)
    secret = YAML.safe_load(read("config/nodevent.yml"), aliases: true)["development"]["/nodevent"]["secret"]
    expect(secret).to match(/\A\h{64}\z/)

    File.write(File.join(@app, "page.rb"), <<~RUBY)
      page = ApplicationController.render(inline: '<%= render "nodevent/sample" %>', layout: "application")
      puts page[/data-nodevent-room="sample" data-nodevent-key="\\h{64}:\\d{13}"/] && page[/<script src='[^']+/]
    RUBY
    expect(run("bin/rails", "runner", "page.rb")).to eq("<script src='http://localhost:8080/api/nodevent\n")

    port = Ports.free
    File.write(File.join(@app, "config/nodevent.yml"), read("config/nodevent.yml").gsub("8080", port.to_s))
    server = NodeventServer.new({}, file: File.join(@app, "config/nodevent.yml"))
    expect(run("bin/rails",
               "nodevent:doctor")).to include("the secrets match").and include("arrived through the server")
      .and include("the console, for browsers on this machine: http://localhost:").and include("the server is mounted at /nodevent")
  ensure
    server&.stop
  end
end
