# frozen_string_literal: true

# The gem's tests. They use the built extension, their own Redis, and the server's binary where a spec starts it. Each
# example starts with the default configuration.

$LOAD_PATH.unshift(File.expand_path("../lib", __dir__))
ROOT = File.expand_path("..", __dir__)

# Set by bin/test-rails: a deprecated call in this gem is an error.
if ENV.key?("NODEVENT_DEPRECATIONS")
  Warning[:deprecated] = true
  Warning.singleton_class.prepend(Module.new do
    def warn(message, category: nil, **)
      raise "deprecated: #{message}" if category == :deprecated && message.start_with?("#{ROOT}/lib")

      super
    end
  end)
end

require "nodevent"
require "logger"
require "redis"
require "stringio"
Dir[File.join(__dir__, "support", "*.rb")].sort.each { |file| require file }

RSpec.configure do |config|
  config.disable_monkey_patching!
  config.expect_with(:rspec) { |expectations| expectations.syntax = :expect }
  config.mock_with(:rspec) { |mocks| mocks.verify_partial_doubles = true }
  config.order = :random
  config.include Waiting
  config.include Children

  config.around do |example|
    # What measures time, or makes very many objects in Ruby, has `stress: false`.
    # 1: without marking old objects every time, which would take too long.
    stressed = ENV.key?("NODEVENT_GC_STRESS") && example.metadata[:native] && example.metadata[:stress] != false
    GC.stress = stressed ? 1 : false
    example.run
  ensure
    GC.stress = false
  end

  config.before do
    $redis = nil # rubocop:disable Style/GlobalVars
    @log = StringIO.new
    NoDevent.logger = Logger.new(@log)
    NoDevent::Emitter.publisher = nil
    NoDevent::Emitter.config = {}
  end

  config.after(:suite) { RedisServer.stop_shared }
end
