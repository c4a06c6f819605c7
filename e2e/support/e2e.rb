# frozen_string_literal: true

# Loaded before every spec. A Program is a process; Server, Redis, Board and NewApp use programs; Readme contains the steps
# for a NewApp; Browsers are two users; Waiting waits for conditions.
require "rspec"

module E2E
  ROOT = File.expand_path("../..", __dir__)
  TMP = File.join(ROOT, "tmp", "e2e")
end

require_relative "waiting"
require_relative "program"
require_relative "redis"
require_relative "server"
require_relative "board"
require_relative "readme"
require_relative "new_app"
require_relative "browsers"

RSpec.configure do |config|
  config.disable_monkey_patching!
  config.expect_with(:rspec) { |expectations| expectations.syntax = :expect }
  config.order = :defined
  config.include E2E::Waiting
  config.include E2E::Browsers
  config.after(:suite) { E2E::Program.stop_all }
end
