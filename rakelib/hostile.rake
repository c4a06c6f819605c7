# frozen_string_literal: true

desc "Run the long forms of the limit, load and hostile tests (some minutes)"
task :hostile do
  sh({ "NODEVENT_TEST_FULL" => "1" }, "cargo", "test", "--locked", "--package", "nodevent-server",
     "--test", "hostile", "--test", "limits", "--test", "heartbeat_under_load", "--", "--nocapture", "--test-threads=1")
end

desc "Run 2,000 clients of all protocols, some of which misbehave, for SECONDS (600 by default)"
task soak: "compile:server" do
  root = File.expand_path("..", __dir__)
  sh "npm", "ci", "--silent", chdir: File.join(root, "e2e/action_cable"), verbose: false
  sh "node", File.join(root, "e2e/soak/soak.js"), File.join(root, "tmp/soak")
end

desc "Run every fuzz target, or the one that TARGET names, for SECONDS each (60 by default)"
task :fuzz do
  # The targets of protocol/fuzz/, which libFuzzer drives, and seeded generators of the server's tests, which `bin/test`
  # runs for a few seconds.
  seeded = {
    "http_queries" => %w[--test hostile mutated_request_targets],
    "configuration" => %w[--test hostile mutated_configurations],
    "room_state" => %w[--lib hostile_publications_and_replies],
    "tokens" => %w[--lib hostile_tokens]
  }
  target = ENV.fetch("TARGET", "all")
  seconds = ENV.fetch("SECONDS", "60")
  sh "protocol/fuzz/run", target, seconds unless seeded.key?(target)
  seeded.each do |name, arguments|
    next unless [name, "all"].include?(target)

    sh({ "NODEVENT_FUZZ_SECONDS" => seconds }, "cargo", "test", "--locked", "--package", "nodevent-server", *arguments)
  end
end
