# frozen_string_literal: true

desc "Run the long forms of the limit, load and hostile tests (some minutes)"
task :hostile do
  sh({ "NODEVENT_TEST_FULL" => "1" }, "cargo", "test", "--locked", "--package", "nodevent-server",
     "--test", "hostile", "--test", "limits", "--test", "heartbeat_under_load", "--", "--nocapture", "--test-threads=1")
end

desc "Run every fuzz target, or the one that TARGET names, for SECONDS each (60 by default)"
task :fuzz do
  sh "protocol/fuzz/run", ENV.fetch("TARGET", "all"), ENV.fetch("SECONDS", "60")
end
