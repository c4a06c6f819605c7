# frozen_string_literal: true

desc "Run the tests of what a hostile crowd could do in their full size (some minutes)"
task :hostile do
  sh({ "NODEVENT_FULL" => "1" }, "cargo", "test", "--locked", "--package", "nodevent-server",
     "--test", "hostile", "--test", "limits", "--test", "on_time", "--", "--nocapture", "--test-threads=1")
end

desc "Run every fuzz target, or the one that TARGET names, for SECONDS each (60 where none are named)"
task :fuzz do
  sh "protocol/fuzz/run", ENV.fetch("TARGET", "all"), ENV.fetch("SECONDS", "60")
end
