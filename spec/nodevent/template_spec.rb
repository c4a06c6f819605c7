# frozen_string_literal: true

require "tmpdir"

# `rails new --template`, and `bin/dev` of Rails 8, which runs `rails server` alone, with the PORT that foreman sets.
RSpec.describe "rails/template.rb" do
  # The parts of Rails that require a network or another program.
  skipped = %w[javascript bundle git spring listen bootsnap sprockets test system-test action-cable action-mailer action-mailbox
               action-text active-storage asset-pipeline webpack-install turbolinks].map { |part| "--skip-#{part}" }
  # Installed gems instead of those that Rails names.
  gems = %w[rails puma sqlite3].map { |name| "gem \"#{name}\"\n" }.join

  around do |example|
    Dir.mktmpdir do |folder|
      @folder = folder
      @app = File.join(folder, "live")
      example.run
    end
  end

  let(:environment) do
    Children::CLEAN.merge("RUBYOPT" => "-W0", "RAILS_ENV" => "development", "NODEVENT_ENV" => nil, "NODEVENT_IN_PUMA" => nil,
                          "BUNDLE_SILENCE_ROOT_WARNING" => "1")
  end

  def run(*command, folder: @app)
    out, status = Open3.capture2e(environment, "timeout", "400", *command, chdir: folder)
    raise "#{command.join(' ')} failed: #{out}" unless status.success?

    out
  end

  def path(name)
    File.join(@app, name)
  end

  # The page, as soon as Puma and the server respond.
  def page(port)
    response = Net::HTTP.get_response(URI("http://localhost:#{port}/"))
    response.body if response.code == "200" && File.read(path("log.txt")).include?("listening")
  rescue SystemCallError, EOFError
    nil
  end

  it "makes an application whose page shows what another process creates; one command, one port" do
    template = File.join(@folder, "offline.rb")
    File.write(template, "create_file 'Gemfile', #{gems.inspect}, force: true\napply #{File.join(ROOT, 'rails/template.rb').inspect}\n")
    out = run("rails", "new", "live", *skipped, "--template", template, folder: @folder)
    expect(out).to include("create  config/nodevent.yml").and include("Start it with `bin/rails server`")
    expect(File.read(path("Gemfile"))).to match(/^gem ["']nodevent["'], path: ["'].*["']$/)

    server = Ports.free
    application = Ports.free
    configuration = path("config/nodevent.yml")
    File.write(configuration, File.read(configuration).gsub("8080", server.to_s))
    # As in Rails 8.
    File.write(path("bin/dev"), "#!/usr/bin/env ruby\nexec \"./bin/rails\", \"server\", *ARGV\n")
    File.chmod(0o755, path("bin/dev"))
    pid = Process.spawn(environment.merge("PORT" => application.to_s), "bin/dev", chdir: @app, pgroup: true, %i[out err] => path("log.txt"))
    html = eventually("the page", limit: 120) { page(application) }
    expect(html).to include("<script src='/nodevent/api/nodevent'").and include('data-nodevent-room="Message"')
    key = html[/data-nodevent-key="([^"]+)"/, 1]
    socket = WebSocket.new(application, "/nodevent/socket.io/?EIO=4&transport=websocket")
    socket.next_text
    socket.send("40/nodevent,")
    socket.send(%(42/nodevent,0["join",{"room":"Message","key":"#{key}"}]))
    reply = socket.next_text until reply&.start_with?("43/nodevent,0")
    run("bin/rails", "runner", "Message.create!(body: 'Hello')")
    event = socket.next_text until event&.include?("Hello")
    expect(event).to include('"create"').and include('"body":"Hello"')
    expect(Net::HTTP.get_response(URI("http://localhost:#{application}/nodevent/console")).body).to include("NoDevent console")
    socket.close
    expect(File.read(path("log.txt"))).to include("section=").and include("config/nodevent.yml")
  ensure
    if pid
      Process.kill(:TERM, pid)
      PumaServer.wait(pid)
    end
  end
end
