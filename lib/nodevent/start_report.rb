# frozen_string_literal: true

module NoDevent
  # What the log says of the configuration when an application has started: which file, section and environment count,
  # and everything that production lacks.
  # @api private
  module StartReport
    class << self
      # Logs. A configuration with mistakes does not keep the application from starting: what needs it raises the error.
      def log
        config = Emitter.config
        Logger.log(:info, "the configuration is #{config.summary}")
        missing = config.missing_variables
        return if missing.empty? || builds? || Configuration::Document.environment != "production"

        them = missing.size == 1 ? "it" : "them"
        Logger.log(:error, "#{config.source}: the environment has no #{list(missing)}; set #{them}, or write #{them} " \
                           "below `nodevent:` in Rails' credentials")
      rescue ConfigurationError => e
        Logger.log(:error, "the configuration is invalid: #{e.message}")
      end

      private

      # Whether an image is built, which has no secrets.
      def builds?
        !ENV.fetch("SECRET_KEY_BASE_DUMMY", "").empty?
      end

      def list(missing)
        missing.map { |name, line| "#{name} (line #{line})" }.join(", ")
      end
    end
  end
end
