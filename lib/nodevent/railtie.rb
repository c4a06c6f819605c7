# frozen_string_literal: true

require "nodevent/start_report"
# Rails 6.1 loads only parts of it, and then no object has a to_json that works.
require "active_support"
require "rails/railtie"

module NoDevent
  # Integration with Rails: the configuration's folder, the log, test mode, the route for keys, the start of requests,
  # the pages of visitors, the view helpers, the rake tasks.
  class Railtie < Rails::Railtie
    initializer "nodevent.configuration" do |app|
      NoDevent::Configuration.root = app.root
      NoDevent::Credentials.source = -> { app.credentials.nodevent }
    end

    initializer "nodevent.logger", after: :initialize_logger do
      NoDevent.logger = Rails.logger
    end

    # `config.nodevent.test_mode = false` publishes in the test environment too, as system tests need it.
    config.nodevent = ActiveSupport::OrderedOptions.new

    # `config.nodevent.after_commit = true`: each `emit` waits for the commit of open transactions.
    initializer "nodevent.after_commit" do |app|
      NoDevent.after_commit = app.config.nodevent.after_commit unless app.config.nodevent.after_commit.nil?
    end

    # Tests must not reach the pages of the development server.
    initializer "nodevent.test_mode", after: :load_config_initializers do |app|
      mode = app.config.nodevent.test_mode
      NoDevent.test_mode! if mode || (mode.nil? && Rails.env.test? && Publisher.custom.nil?)
    end

    initializer "nodevent.request_start" do |app|
      app.executor.to_run { NoDevent::RequestStart.mark }
      app.executor.to_complete { NoDevent::RequestStart.clear }
    end

    initializer "nodevent.page" do |app|
      app.middleware.use NoDevent::Page::Middleware
    end

    # The channels in Ruby, which the server calls, and the tag of Turbo. Before that of pages, which takes every
    # request for handlers.
    initializer "nodevent.cable" do |app|
      require "nodevent/cable/integration"
      NoDevent::Cable::Integration.install
      config.to_prepare { NoDevent::Cable::Integration.extend_turbo }
      if defined?(ActionCable)
        require "nodevent/cable/endpoint"
        app.middleware.use NoDevent::Cable::Endpoint
      end
    end

    # `config.nodevent.realtime = true`. The last middleware, so inside of the session's and of those that compress.
    initializer "nodevent.realtime" do |app|
      if app.config.nodevent.realtime
        app.middleware.use NoDevent::Realtime
        ActiveSupport.on_load(:action_dispatch_request) { include NoDevent::Realtime::Request }
        ActiveSupport.on_load(:action_controller) { include NoDevent::Realtime::Controller }
      end
    end

    initializer "nodevent.routes", after: :load_config_initializers do |app|
      if NoDevent::KeyEndpoint.configured?
        app.routes.append { match KeyEndpoint::PATH, to: KeyEndpoint, via: :all, as: :nodevent_key }
      end
    end

    # Routes may have changed.
    config.to_prepare { NoDevent::Server.forget }

    config.after_initialize { NoDevent::StartReport.log }

    initializer "nodevent.helper" do
      ActiveSupport.on_load(:action_view) { include NoDevent::Helper }
      ActiveSupport.on_load(:action_view) { include NoDevent::Cable::Helper }
    end

    initializer "nodevent.broadcasts" do
      ActiveSupport.on_load(:active_record) { extend NoDevent::Broadcasts }
    end

    # The custom elements and the Stimulus controller, for Propshaft, Sprockets and importmaps.
    initializer "nodevent.assets" do |app|
      if app.config.respond_to?(:assets)
        app.config.assets.paths << NoDevent::ClientFiles::ASSETS
        app.config.assets.precompile&.concat(NoDevent::ClientFiles.assets)
      end
    end

    # Subscribed only if the level is logged, because a subscription makes every `emit` slower.
    initializer "nodevent.log_subscriber", after: "nodevent.logger" do
      if Rails.logger&.debug?
        require "nodevent/log_subscriber"
        NoDevent::LogSubscriber.attach_to(:nodevent)
      end
    end

    rake_tasks { load "tasks/nodevent.rake" }
  end
end
