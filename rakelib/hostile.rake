# frozen_string_literal: true

desc "Run the tests against hostile clients at full size (several minutes)"
task :hostile do
  sh({ "NODEVENT_TEST_FULL" => "1" }, "cargo", "test", "--locked", "--package", "nodevent-server",
     "--test", "hostile", "--test", "limits", "--test", "on_time", "--", "--nocapture", "--test-threads=1")
end

desc "Run every fuzz target, or the one named by TARGET, for SECONDS each (default 60)"
task :fuzz do
  sh "protocol/fuzz/run", ENV.fetch("TARGET", "all"), ENV.fetch("SECONDS", "60")
end
