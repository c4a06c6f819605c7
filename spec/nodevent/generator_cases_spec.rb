# frozen_string_literal: true

require "open3"
require "tmpdir"

# Issue 11, section D: the generator does its work, or states in one sentence what to do by hand.
#
# Cases: config/puma.rb with and without our line; Procfile.dev that is missing, empty, without a final newline, with
# Windows line ends, with our line already;
# `</head>` at the start of its line, after other tags, in capitals, twice, not there; ERB, Haml, Slim, no layout, a layout
# with the tag; a second run, and one after manual edits; a Content-Security-Policy.
RSpec.describe "rails generate nodevent:install in many applications" do
  # One process for all examples, because Rails changes how Ruby writes JSON.
  before(:context) do
    @generator = IO.popen([RbConfig.ruby, "-W0", "-I#{ROOT}/lib", "-e", <<~RUBY], "r+")
      require "json"
      require "stringio"
      require "rails/generators"
      require "generators/nodevent/install/install_generator"
      out = $stdout
      $stdin.each_line do |line|
        folder, options = JSON.parse(line)
        $stdout = StringIO.new
        Nodevent::Generators::InstallGenerator.start(options, destination_root: folder)
        out.puts JSON.generate($stdout.string)
        out.flush
      end
    RUBY
  end

  after(:context) { @generator.close }

  let(:tag) { "<%= javascript_include_nodevent async: true %>" }

  # The files that the generator leaves, and what it prints.
  def generate(files = {}, runs: 1, options: [])
    Dir.mktmpdir do |folder|
      files.each do |name, text|
        FileUtils.mkdir_p(File.dirname(File.join(folder, name)))
        File.binwrite(File.join(folder, name), text)
      end
      output = nil
      runs.times { output = run(folder, options) }
      written = Dir.glob("**/*", File::FNM_DOTMATCH, base: folder).select { |name| File.file?(File.join(folder, name)) }
      [written.to_h { |name| [name, File.binread(File.join(folder, name)).force_encoding("UTF-8")] }, output]
    end
  end

  def run(folder, options)
    @generator.puts(JSON.generate([folder, options]))
    JSON.parse(@generator.gets)
  end

  def layout(text, kind = "erb", **options)
    files, output = generate({ "app/views/layouts/application.html.#{kind}" => text }, **options)
    [files["app/views/layouts/application.html.#{kind}"], output]
  end

  it "makes git ignore what the server stores, if it does not yet" do
    line = "\n# What NoDevent's server stores in development: messages and revocations.\n/storage/nodevent/\n"
    { "/log/*\n" => "/log/*\n#{line}", "/log/*" => "/log/*\n#{line}", "/storage/*\n" => "/storage/*\n",
      "!/storage/.keep\n" => "!/storage/.keep\n#{line}", "storage" => "storage", "/storage/nodevent/" => "/storage/nodevent/",
      "/storage2\n" => "/storage2\n#{line}", "# /storage/*\n" => "# /storage/*\n#{line}" }.each do |before, after|
      files, = generate({ ".gitignore" => before })
      expect([before, files[".gitignore"]]).to eq([before, after])
      again, = generate({ ".gitignore" => before }, runs: 2)
      expect(again[".gitignore"]).to eq(after)
    end
    expect(generate.first).not_to have_key(".gitignore")
  end

  it "adds its line to a Procfile.dev if Puma has no configuration, whatever the end of the file is" do
    line = "nodevent: bundle exec nodevent config/nodevent.yml\n"
    { nil => "web: bin/rails server\n#{line}", "" => line, "web: x\n" => "web: x\n#{line}", "web: x" => "web: x\n#{line}",
      "web: x\r\n" => "web: x\r\n#{line}", "nodevent: own\n" => "nodevent: own\n", "web: x\n  nodevent : y" => "web: x\n  nodevent : y",
      "# nodevent:\nweb: x" => "# nodevent:\nweb: x\n#{line}" }.each do |before, after|
      files, = generate(before ? { "Procfile.dev" => before } : {})
      expect([before, files["Procfile.dev"]]).to eq([before, after])
      again, = generate(before ? { "Procfile.dev" => before } : {}, runs: 2)
      expect(again["Procfile.dev"]).to eq(after)
    end
  end

  it "mounts the server in the routes, unless it is mounted or that is not wanted" do
    routes = "Rails.application.routes.draw do\nend\n"
    mounted = "Rails.application.routes.draw do\n  mount NoDevent::Server => \"/nodevent\"\nend\n"
    own = "Rails.application.routes.draw do\n  mount NoDevent::Server, at: \"/live\"\nend\n"
    { routes => mounted, own => own }.each do |before, after|
      files, = generate({ "config/routes.rb" => before }, runs: 2)
      expect(files["config/routes.rb"]).to eq(after)
    end
    files, = generate({ "config/routes.rb" => routes }, options: ["--no-mount"])
    expect(files["config/routes.rb"]).to eq(routes)
    expect(generate.first).not_to have_key("config/routes.rb")
  end

  it "adds its line to the configuration of Puma, unless the server is in Procfile.dev" do
    line = "\n# Runs NoDevent's server in development, and where NODEVENT_IN_PUMA=1 is set.\nplugin :nodevent\n"
    { "" => line, "port 1\n" => "port 1\n#{line}", "port 1" => "port 1\n#{line}", "plugin :nodevent" => "plugin :nodevent",
      "plugin 'nodevent'\n" => "plugin 'nodevent'\n", "# plugin :nodevent\n" => "# plugin :nodevent\n#{line}" }.each do |before, after|
      files, output = generate({ "config/puma.rb" => before }, runs: 2)
      expect([before, files["config/puma.rb"]]).to eq([before, after])
      expect(files).not_to have_key("Procfile.dev")
      expect(output).to include("start both with `bin/rails server`")
    end
    own = { "config/puma.rb" => "port 1\n", "Procfile.dev" => "nodevent: own\n" }
    expect(generate(own).first).to include(own)
  end

  it "adds the tag to ERB layouts, wherever </head> is" do
    { "<head>\n  <title>x</title>\n</head>\n" => "<head>\n  <title>x</title>\n  #{tag}\n</head>\n",
      "<head>\n    </head>\n" => "<head>\n      #{tag}\n    </head>\n",
      "<html><head><title>x</title></head><body></body>" => "<html><head><title>x</title>#{tag}</head><body></body>",
      "<head>\n  <meta></head>\n" => "<head>\n  <meta>#{tag}</head>\n", "<HEAD>\n</HEAD>\n" => "<HEAD>\n  #{tag}\n</HEAD>\n",
      "<head>\n</head >\n" => "<head>\n  #{tag}\n</head >\n", "<head>\r\n</head>\r\n" => "<head>\r\n  #{tag}\r\n</head>\r\n",
      "<head>\n</head>\n<pre></head></pre>" => "<head>\n  #{tag}\n</head>\n<pre></head></pre>" }.each do |before, after|
      expect([before, layout(before).first]).to eq([before, after])
      expect(layout(before, runs: 2).first).to eq(after)
    end
  end

  it "adds the tag to Haml and Slim layouts" do
    call = "= javascript_include_nodevent async: true"
    expect(layout("!!!\n%html\n  %head\n    %title x\n  %body\n", "haml").first)
      .to eq("!!!\n%html\n  %head\n    #{call}\n    %title x\n  %body\n")
    expect(layout("%html\n  %head{ lang: 'en' }\n  %body\n", "haml").first)
      .to eq("%html\n  %head{ lang: 'en' }\n    #{call}\n  %body\n")
    expect(layout("doctype html\nhtml\n\thead\n\t\ttitle x\n\tbody\n", "slim", runs: 2).first)
      .to eq("doctype html\nhtml\n\thead\n\t\t#{call}\n\t\ttitle x\n\tbody\n")
    expect(layout("html\n  head", "slim").first).to eq("html\n  head\n    #{call}\n")
  end

  # Issue 18: how an application loads the custom elements and the Stimulus controller.
  describe "--frontend" do
    head = "<head>\n</head>\n"
    layout_file = "app/views/layouts/application.html.erb"
    imports = %(import "nodevent/room-element"\nimport "nodevent/stream-source"\n)
    elements = ->(prefix) { %(<%= javascript_include_tag "#{prefix}nodevent-room", "#{prefix}nodevent-stream-source", defer: true, nonce: true %>) }

    it "pins and imports them where there is an importmap, once" do
      own = { "config/importmap.rb" => %(pin "application"), "app/javascript/application.js" => %(import "controllers"\n),
              "app/javascript/controllers/index.js" => "" }
      files, output = generate(own, runs: 2)
      expect(files["config/importmap.rb"]).to eq(<<~RUBY)
        pin "application"
        pin "nodevent/room-element", to: "nodevent-room.js"
        pin "nodevent/stream-source", to: "nodevent-stream-source.js"
        pin "nodevent/stimulus", to: "nodevent_controller.js"
      RUBY
      expect(files["app/javascript/application.js"]).to eq(%(import "controllers"\n#{imports}))
      expect(files["app/javascript/controllers/nodevent_controller.js"]).to eq(%(export { default } from "nodevent/stimulus"\n))
      expect(output).to include("<%= nodevent_stream_from @record %>")
      pinned = files["config/importmap.rb"].scan(/to: "(.*)"/).flatten
      expect(Dir.children(File.join(ROOT, "client/dist/assets"))).to match_array(pinned)
    end

    it "adds a tag where there is an asset pipeline, once" do
      files, = generate({ "app/assets/config/manifest.js" => "", layout_file => head }, runs: 2)
      expect(files[layout_file]).to eq("<head>\n  #{tag}\n  #{elements.call('')}\n</head>\n")
    end

    it "copies the elements into public, and renews the copies" do
      files, = generate({ layout_file => head, "public/nodevent-room.js" => "old" }, runs: 2, options: %w[--frontend=public])
      expect(files[layout_file]).to eq("<head>\n  #{tag}\n  #{elements.call('/')}\n</head>\n")
      %w[nodevent-room nodevent-stream-source].each do |name|
        expect(files["public/#{name}.js"]).to eq(File.read(File.join(ROOT, "client/dist/assets/#{name}.js"), encoding: "UTF-8"))
      end
    end

    it "imports the package, and prints how to install it" do
      files, output = generate({ "app/javascript/application.js" => "" }, options: %w[--frontend=npm])
      expect(files["app/javascript/application.js"]).to eq(imports)
      expect(output).to include(%(npm pack "$(bundle show nodevent)/client" --pack-destination vendor)).and include("npm install ./vendor/nodevent-")
      _, output = generate({}, options: %w[--frontend=npm])
      expect(output).to match(/skip.*there is no app.javascript.application.js; write import "nodevent.room-element" and import/)
    end

    it "adds only the script tag on request, and where there is nothing else" do
      importmap = { "config/importmap.rb" => "", layout_file => head }
      [generate(importmap, options: %w[--frontend=script]), generate({ layout_file => head })].each do |files, output|
        expect(files[layout_file]).to eq("<head>\n  #{tag}\n</head>\n")
        expect(files["config/importmap.rb"].to_s).to eq("")
        expect(output).not_to include("nodevent_stream_from")
      end
    end
  end

  it "states what to do by hand, and changes nothing" do
    files, output = generate
    expect(output).to match(/skip.*there is no app.views.layouts.application.html.erb; add <%= javascript_include_nodevent async: true %> to/)
    expect(files.keys).to contain_exactly("Procfile.dev", "config/nodevent.yml", "app/views/nodevent/_sample.html.erb")
    text, output = layout("<%= render 'head' %>\n")
    expect([text, output]).to match(["<%= render 'head' %>\n", /skip.*application.html.erb has no head; add <%= javascript_include_nodevent/])
    expect(layout("%body\n", "haml")).to match(["%body\n", /application.html.haml has no head/])
  end

  it "keeps a secret that is in use, and edited files, in a second run" do
    own = { "config/nodevent.yml" => "secret: mine\n", "app/views/nodevent/_sample.html.erb" => "mine",
            "app/views/layouts/application.html.erb" => "<head>\n<%= javascript_include_nodevent defer: true %>\n</head>" }
    files, output = generate(own)
    expect(files).to include(own)
    expect(output).to match(/exist.*nodevent.yml.*identical.*application.html.erb.*exist.*_sample/m)
    expect(generate(own, options: %w[--force]).first["config/nodevent.yml"]).to include("development: &local")
  end

  # Both readers understand the file, with its anchor, in the same way.
  it "writes a configuration that the gem and the server read alike, in every environment" do
    text = generate.first.fetch("config/nodevent.yml")
    variables = { "NODEVENT_SECRET" => "a-secret-for-production", "NODEVENT_PUBLISH_KEY" => "publish-key-for-production",
                  "NODEVENT_URL" => "https://live.example.com" }
    secrets = %w[development test production].to_h do |name|
      Dir.mktmpdir do |folder|
        file = File.join(folder, "nodevent.yml")
        File.write(file, text)
        env = variables.merge("NODEVENT_ENV" => name)
        gem = JSON.parse(ruby(<<~RUBY, env: env.merge("NODEVENT_CONFIG" => file)))
          require "nodevent"
          config = NoDevent::Emitter.config
          puts JSON.generate([config.secret, config["public_url"], config.namespace, !config.redis.nil?, config.publish_key])
        RUBY
        output, status = Open3.capture2e(env, NodeventServer.binary, "check", "--offline", file)
        expect([name, status.exitstatus, output]).to match([name, 0, /no errors/])
        key = Open3.capture2(env, NodeventServer.binary, "key", "lobby", "--config", file).first[/\h{64}:\d{13}/]
        signed = NoDevent::Native.sign("lobby", Integer(key[/\d+\z/]), gem.first)
        expect([name, key]).to eq([name, signed]), "the server and the gem sign with different secrets"
        [name, gem]
      end
    end
    expect(secrets["test"]).to eq(secrets["development"])
    expect(secrets["development"]).to match([/\A\h{64}\z/, "http://localhost:8080", "/nodevent", false, nil])
    expect(secrets["production"]).to eq(["a-secret-for-production", "https://live.example.com", "/nodevent", true, "publish-key-for-production"])
  end

  it "says what a Content-Security-Policy must allow" do
    policy = "Rails.application.config.content_security_policy do |policy|\nend\n"
    _, output = generate({ "config/initializers/content_security_policy.rb" => policy })
    expect(output).to include("policy.connect_src :self").and include("by a nonce").and include("NoDevent.csp_hash")
    _, output = generate({ "config/initializers/content_security_policy.rb" => policy.gsub(/^/, "# ") })
    expect(output).not_to include("connect_src")
  end

  # The tag is a script element of its own; it needs nothing from importmap, propshaft or jsbundling, and leaves their tags.
  it "leaves the tags of importmap, propshaft and jsbundling alone" do
    { importmap: "<%= javascript_importmap_tags %>", propshaft: '<%= stylesheet_link_tag :app, "data-turbo-track": "reload" %>',
      jsbundling: '<%= javascript_include_tag "application", defer: true %>' }.each_value do |other|
      expect(layout("<head>\n  #{other}\n</head>\n").first).to eq("<head>\n  #{other}\n  #{tag}\n</head>\n")
    end
  end
end
