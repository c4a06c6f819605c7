# frozen_string_literal: true

require "rails/railtie"

module NoDevent
  # What Rails needs: where the configuration lies, the log, the view helpers, the rake tasks.
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

    # Where nothing is logged at this level, nobody should have to listen.
    initializer "nodevent.log_subscriber", after: "nodevent.logger" do
      if Rails.logger&.debug?
        require "nodevent/log_subscriber"
        NoDevent::LogSubscriber.attach_to(:nodevent)
      end
    end

    rake_tasks { load "tasks/nodevent.rake" }
  end
end
