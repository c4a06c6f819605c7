# frozen_string_literal: true

require "nodevent/doctor/visitor"
require "nodevent/doctor/examination"

module NoDevent
  # Finds out why nothing arrives: asks the server what a browser would ask, with this application's configuration.
  # `rake nodevent:doctor` prints it.
  module Doctor
    # One thing that was looked at. `level` is `:good`, `:doubtful` or `:bad`; `remedy` says what to do.
    Finding = Struct.new(:level, :sentence, :remedy, keyword_init: true) do
      def to_s
        mark = { good: "ok  ", doubtful: "hm  ", bad: "BAD " }.fetch(level)
        remedy ? "#{mark}#{sentence}\n    → #{remedy}" : "#{mark}#{sentence}"
      end
    end

    class << self
      # @param origin [String, nil] the address of the pages that will connect; by default on the server's own host
      # @return [Array<Finding>] in the order in which things depend on each other; what a bad one makes impossible to
      #   see is not there
      def examine(origin: nil)
        findings = []
        Examination.new(origin) { |finding| findings << finding }.run
        findings
      rescue ConfigurationError => e
        findings << Finding.new(level: :bad, sentence: "the configuration cannot be used: #{e.message}",
                                remedy: "mend that; `nodevent check FILE` tells all mistakes of a file at once")
      end

      # Prints the findings.
      # @param out [IO]
      # @param origin see {examine}
      # @return [Boolean] whether none is bad
      def report(out: $stdout, origin: nil)
        findings = examine(origin: origin)
        findings.each { |finding| out.puts(finding) }
        findings.none? { |finding| finding.level == :bad }
      end
    end
  end
end
