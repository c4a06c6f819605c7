# frozen_string_literal: true

require_relative "boot"

require "rails"
require "active_record/railtie"
require "active_job/railtie"
require "action_controller/railtie"
require "action_view/railtie"

Bundler.require(*Rails.groups)

# A discussion board whose pages update while you read them. This file contains all its settings, because the three
# environments differ in only four lines.
module Parlour
  class Application < Rails::Application
    config.load_defaults Rails::VERSION::STRING.to_f

    config.eager_load = Rails.env.production?
    config.cache_classes = !Rails.env.development?
    config.consider_all_requests_local = !Rails.env.production?

    config.public_file_server.enabled = true
    config.active_record.dump_schema_after_migration = false
    config.generators.system_tests = nil

    # bin/demo sets the folder of the logs, and the host name for access from other machines.
    config.paths["log"] = File.join(ENV["DEMO_LOGS"], "#{Rails.env}.log") if ENV["DEMO_LOGS"]
    config.hosts << ENV["DEMO_HOST"] if ENV["DEMO_HOST"] && Rails.env.development?

    # The end-to-end tests run in the test environment, but really publish.
    config.nodevent.test_mode = false

    # Inline scripts and styles of the Turbo board.
    config.content_security_policy_nonce_generator = ->(_request) { SecureRandom.base64(16) }
    config.content_security_policy_nonce_directives = %w[script-src style-src]

    # Jobs run in threads of the application: the demo needs no other process.
    config.active_job.queue_adapter = :async

    # The session cookie says who the visitor is. bin/demo keeps the secret, so visitors stay the same after a restart.
    config.secret_key_base = ENV["SECRET_KEY_BASE"] if ENV["SECRET_KEY_BASE"]
    config.session_store :cookie_store, key: "_parlour_session", expire_after: 30.days
  end
end
