# frozen_string_literal: true

# The gem's tests. They start their own Redis, and need redis-server on the PATH.

require_relative "parallel_specs"

# Builds the server as `cargo test` does, with the features of the tests' dependencies, so that no crate is compiled
# twice.
task("compile:tested_server") do
  sh "cargo", "build", "--locked", "--bin", "nodevent", "--example", "conformance", verbose: false
end

desc "Run the gem's specs against the built extension"
task(spec: %w[compile compile:tested_server]) { ParallelSpecs.new(FileList["spec/**/*_spec.rb"].to_a).run }

namespace :spec do
  desc "Run the Rust tests of the extension's parts that do not use Ruby"
  task(:queue) { sh "cargo", "test", "--package", "nodevent-ext" }

  desc "Run the specs of the native parts under GC.stress"
  task(stress: %w[compile compile:tested_server]) do
    native = FileList["spec/**/*_spec.rb"].select { |file| File.read(file).include?(":native") }
    ParallelSpecs.new(native, options: %w[--tag native], environment: { "NODEVENT_GC_STRESS" => "1" }).run
  end
end

# Some specs build the server as users do, which must not take its time from their limits.
desc "Run Chromium, Rails and the server end to end"
task(e2e: %w[compile compile:server]) do
  chdir("e2e", verbose: false) { ParallelSpecs.new(Dir["*_spec.rb"]).run }
end

desc "Check the style of the Ruby code"
task(:rubocop) { sh "rubocop" }
