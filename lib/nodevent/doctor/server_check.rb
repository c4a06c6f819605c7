# frozen_string_literal: true

require "open3"
require "rbconfig"

module NoDevent
  module Doctor
    # Runs `nodevent check --offline`, which validates the configuration file as the server reads it: unknown keys,
    # invalid values, weak secrets. The doctor adds what only the running application knows.
    module ServerCheck
      EXECUTABLE = File.expand_path("../../../exe/nodevent", __dir__)

      private_constant :EXECUTABLE

      class << self
        # @param file [String]
        # @return [Array<Finding>]
        def findings(file)
          command = [RbConfig.ruby, EXECUTABLE, "check", "--offline", file]
          output, status = Open3.capture2e(environment(file), *command)
          return [not_built] if status.exitstatus == 69
          return [invalid(file, output)] unless status.success?

          warnings = output.lines(chomp: true).grep(/\Awarning: /).map { |line| warning(line) }
          warnings.any? ? warnings : [Finding.new(level: :ok, message: "the server accepts #{file}")]
        end

        private

        # The server selects the section of the same environment, and has the secrets of the credentials.
        def environment(file)
          name = Configuration::Document.environment
          { "NODEVENT_ENV" => name, "RUBYOPT" => nil, **NoDevent::Credentials.variables(file, name) }
        end

        def warning(line)
          message, hint = line.delete_prefix("warning: ").split("; ", 2)
          Finding.new(level: :warn, message: message, hint: hint || "see docs/server.md")
        end

        def invalid(file, output)
          problems = output.strip.lines(chomp: true).join("; ")
          Finding.new(level: :fail, message: "the server rejects #{file}: #{problems}",
                      hint: "fix the lines listed")
        end

        def not_built
          Finding.new(level: :warn, message: "the server is not built here, so it did not check the file",
                      hint: "run `nodevent check` on the server's machine")
        end
      end
    end
  end
end
