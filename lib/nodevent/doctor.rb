# frozen_string_literal: true

require "nodevent/doctor/polling_client"
require "nodevent/doctor/checks"
require "nodevent/doctor/console_check"
require "nodevent/doctor/handover_check"

module NoDevent
  # Finds out why events do not arrive: reads the configuration with `nodevent check`, then follows the path of a
  # message as the application and a browser would. `rake nodevent:doctor` prints the findings.
  module Doctor
    # The result of one check. `level` is `:ok`, `:warn` or `:fail`; `hint` says what to do.
    # Both are one printable line.
    Finding = Struct.new(:level, :message, :hint, keyword_init: true) do
      def initialize(level:, message:, hint: nil)
        super(level: level, message: Text.line(message), hint: hint && Text.line(hint))
      end

      def to_s
        mark = { ok: "ok   ", warn: "warn ", fail: "FAIL " }.fetch(level)
        hint ? "#{mark}#{message}\n     → #{hint}" : "#{mark}#{message}"
      end
    end

    class << self
      # @param origin [String, nil] the origin of the pages that connect; by default the server's own host
      # @return [Array<Finding>] in the order of the path of a message. Checks after a failed one are omitted if they
      #   depend on it
      def examine(origin: nil)
        findings = []
        Emitter.config.namespaces.each do |config|
          Checks.new(origin, config) { |finding| findings << finding }.run
        end
        findings.concat(ConsoleCheck.findings(origin))
        findings.concat(HandoverCheck.findings)
        findings.uniq
      rescue ConfigurationError => e
        findings << Finding.new(level: :fail, message: "the configuration is invalid: #{e.message}",
                                hint: "fix it; `nodevent check FILE` lists all mistakes of a file")
      end

      # Prints the findings.
      # @param out [IO]
      # @param origin see {examine}
      # @return [Boolean] whether no check failed
      def report(out: $stdout, origin: nil)
        findings = examine(origin: origin)
        findings.each { |finding| out.puts(finding) }
        findings.none? { |finding| finding.level == :fail }
      end
    end
  end
end
