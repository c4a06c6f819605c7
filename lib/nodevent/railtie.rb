# frozen_string_literal: true

require "rails/railtie"

module NoDevent
  # Integration with Rails: the configuration's folder, the log, the view helpers, the rake tasks.
  class Railtie < Rails::Railtie
    initializer "nodevent.configuration" do |app|
      NoDevent::Configuration.root = app.root
    end

    initializer "nodevent.logger", after: :initialize_logger do
      NoDevent.logger = Rails.logger
    end

    initializer "nodevent.helper" do
      ActiveSupport.on_load(:action_view) { include NoDevent::Helper }
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
