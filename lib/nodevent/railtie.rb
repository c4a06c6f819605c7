# frozen_string_literal: true

require "rails/railtie"

module NoDevent
  # What Rails needs: where the configuration lies, the log, the view helpers.
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
  end
end
