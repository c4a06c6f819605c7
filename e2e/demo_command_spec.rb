# frozen_string_literal: true

require "open3"
require "securerandom"

# bin/demo, as run after cloning the repository.
RSpec.describe "bin/demo" do
  # An environment variable that all processes started by bin/demo inherit.
  let(:mark) { "NODEVENT_E2E_MARK=#{SecureRandom.hex(8)}" }
  let(:folder) { File.join(E2E::TMP, "demo-#{mark[-8..]}").tap { |path| FileUtils.mkdir_p(path) } }

  def marked
    Dir["/proc/[0-9]*/environ"].select { |file| mark?(file) }.map { |file| file[/\d+/].to_i }
  end

  def mark?(environment)
    File.binread(environment).include?(mark)
  rescue SystemCallError
    false # the process exited, or belongs to another user
  end

  def run_demo(env = {})
    name, value = mark.split("=")
    env = { name => value, "RAILS_ENV" => "test", "DEMO_DATABASE" => File.join(folder, "demo.sqlite3"),
            "DEMO_LOGS" => folder, "REDIS_URL" => nil, "NODEVENT_PORT" => E2E::Program.free_port.to_s,
            "PORT" => E2E::Program.free_port.to_s }.merge(env)
    E2E::Program.new("demo", File.join(E2E::ROOT, "bin", "demo"), env: env)
  end

  # The addresses it prints, once it has.
  def addresses(demo)
    demo.ready("bin/demo prints its address", within: 300) { demo.output.include?("Ctrl-C stops everything") }
    ["Discussion board", "NoDevent server"].map { |label| URI(demo.output[/#{label}:\s+(\S+)/, 1]) }
  end

  def expect_all_gone
    eventually("nothing of bin/demo is left") { marked.empty? }
  end

  after { E2E::Program.stop_all }

  # With Turbo from npm.
  it "prints the address of the live, seeded board; TERM stops everything", :npm do
    demo = run_demo
    board, server = addresses(demo)
    expect(Net::HTTP.get(board)).to include("Which sound means home to you?", "src='/nodevent/api/board'")
    expect(Net::HTTP.get(URI("#{server}/api/board"))).to include("NoDevent")
    turbo = demo.output[/The same by Turbo:\s+(\S+)/, 1]
    expect(turbo).to eq("#{board}/turbo")
    expect(Net::HTTP.get(URI(turbo))).to include("Which sound means home to you?", "<turbo-cable-stream-source")
    expect(marked.size).to be >= 3 # bin/demo, the server, Puma

    demo.signal("TERM")
    expect(demo.status.exitstatus).to eq(0)
    expect_all_gone
    expect { Net::HTTP.get(board) }.to raise_error(SystemCallError)
    expect { Net::HTTP.get(server) }.to raise_error(SystemCallError)
  end

  it "uses other ports if the configured ones are in use, and stops on Ctrl-C with a page open" do
    TCPServer.open("127.0.0.1", 0) do |one|
      TCPServer.open("127.0.0.1", 0) do |other|
        demo = run_demo("NODEVENT_PORT" => one.addr[1].to_s, "PORT" => other.addr[1].to_s)
        board, server = addresses(demo)
        expect(server.port).to be > one.addr[1]
        expect(board.port).to be > other.addr[1]

        open_page(ines, board.to_s)
        demo.signal("INT")
        expect(demo.status.exitstatus).to eq(0)
        expect_all_gone
      end
    end
  end

  it "runs on the configured Redis" do
    redis = E2E::Redis.new
    demo = run_demo("REDIS_URL" => redis.url)
    board, = addresses(demo)
    expect(demo.output).to include("Redis at 127.0.0.1:#{redis.port}")
    expect(redis.ask("pubsub", "numsub", "/board")).to match(%r{/board\s+1})

    open_page(ines, "#{board}/discussions/1")
    redis.ask("publish", "/board", { room: "Discussion_1", event: "destroy", message: { id: 1 } }.to_json)
    expect(ines).to have_css("#closed", text: "This discussion was deleted.")
  end

  it "keeps visitors and their unread mentions when everything but Redis restarts" do
    redis = E2E::Redis.new
    settings = { "REDIS_URL" => redis.url, "PORT" => E2E::Program.free_port.to_s, "NODEVENT_PORT" => E2E::Program.free_port.to_s }
    demo = run_demo(settings)
    board, = addresses(demo)
    open_page(ines, board.to_s)
    open_page(omar, "#{board}/discussions/1")
    name = ines.find("#my-name").text
    say(omar, "@#{name}, have you read this?")
    expect(ines).to have_css("#unread", text: "1")
    demo.signal("TERM")
    expect(demo.status.exitstatus).to eq(0)

    addresses(run_demo(settings))
    open_page(ines, board.to_s)
    expect(ines).to have_css("#my-name", text: name)
    expect(ines).to have_css("#unread", text: "1")
  end

  it "reports that the configured Redis does not respond" do
    demo = run_demo("REDIS_URL" => "redis://:hidden@127.0.0.1:#{E2E::Program.free_port}/0")
    # It looks for the gems first.
    expect(demo.status(within: 120).exitstatus).to eq(69)
    expect(demo.output).to match(/no Redis responds at 127\.0\.0\.1:\d+ \(REDIS_URL\).*unset REDIS_URL/m)
    expect(demo.output).not_to include("hidden")
    expect_all_gone
  end

  it "says what to install if Rust is missing" do
    demo = run_demo("PATH" => "/usr/bin:/bin", "HOME" => folder)
    expect(demo.status(within: 120).exitstatus).to eq(69)
    expect(demo.output).to match(/Rust .* is missing.*rustup/m)
  end

  it "prints the install command if it lacks the permission to run it" do
    nobody = Process.uid.zero? ? %w[setpriv --reuid=65534 --clear-groups] : []
    script = <<~BASH
      #{File.read(File.join(E2E::ROOT, 'bin', 'requirements.sh'))}
      have() { [ "$1" != sudo ] && command -v "$1" >/dev/null; }
      want redis-server libclang redis-server
      install_missing
    BASH
    said, status = Open3.capture2e(*nobody, "bash", "-s", stdin_data: script, chdir: "/")
    expect(status.exitstatus).to eq(69)
    expect(said).to match(/apt-get update && apt-get install --yes --no-install-recommends libclang-common-\d+-dev libclang1-\d+ redis-server$/)
  end

  it "reports a missing Ruby, or one that cannot build extensions" do
    script = <<~BASH
      #{File.read(File.join(E2E::ROOT, 'bin', 'requirements.sh'))}
      have() { [ "$1" != ruby ] && command -v "$1" >/dev/null; }
      want_ruby
      want_gem rails ruby-rails
      echo "${missing[@]}"
    BASH
    said, status = Open3.capture2e("bash", "-s", stdin_data: script, chdir: "/")
    expect(status).to be_success
    expect(said.split).to include("ruby", "ruby-dev", "ruby-rails")
  end

  it "reports a Node that is too old" do
    script = <<~BASH
      #{File.read(File.join(E2E::ROOT, 'bin', 'requirements.sh'))}
      node() { echo v18.19.0; }
      require_node
    BASH
    said, status = Open3.capture2e("bash", "-s", stdin_data: script, chdir: "/")
    expect(status.exitstatus).to eq(69)
    expect(said).to match(/Node 18\.19\.0 is too old; \d+ or newer is needed/)
  end

  it "prints help" do
    help = IO.popen([File.join(E2E::ROOT, "bin", "demo"), "--help"], &:read)
    expect(help).to include("REDIS_URL", "NODEVENT_PORT")
  end
end
