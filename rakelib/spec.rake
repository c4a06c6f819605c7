# frozen_string_literal: true

# The gem's tests. They require redis-server on the PATH and start their own.

desc "Run the gem's specs against the built extension"
task(spec: %w[compile compile:server]) { sh "rspec" }

namespace :spec do
  desc "Run the tests of the extension's modules that do not call Ruby"
  task(:queue) { sh "cargo", "test", "--package", "nodevent-ext" }

  desc "Run the specs of the extension with a garbage collection at every allocation"
  task(stress: %w[compile compile:server]) { sh({ "NODEVENT_GC_STRESS" => "1" }, "rspec", "--tag", "native") }
end

desc "Check the style of the Ruby code"
task(:rubocop) { sh "rubocop" }
