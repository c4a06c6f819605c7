# frozen_string_literal: true

module NoDevent
  class Configuration
    # What a Rails application needs of its configuration besides emitting: where it hands connections over, whether it
    # serves the console, and what it logs when it starts. Included in {Configuration}.
    # @api private
    module Application
      # @return [String, nil] the Unix socket through which connections are handed over to the server
      def handover_socket = fetch(:handover_socket)

      # @return [Boolean] whether the console is switched off
      def console_off? = fetch(:console_off)

      # @return [String] what was read: file, section and environment
      def summary
        variable = Document.environment_variable || "the default"
        environment = "environment #{Document.environment} (#{variable})"
        return "set in Ruby or the default, #{environment}" unless source

        "#{source}, #{@document.section ? "section #{@document.section}" : 'which has no sections'}, #{environment}"
      end

      # @return [Array<Array(String, Integer)>] see {Document#missing_variables}
      def missing_variables = @document.missing_variables

      private

      def read_application
        { handover_socket: setting("handover_socket") { @values.path("handover_socket", folder) },
          console_off: setting("console") { !@values.node("console").nil? && !@values.flag("console") } }
      end
    end
  end
end
