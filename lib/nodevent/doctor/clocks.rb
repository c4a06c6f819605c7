# frozen_string_literal: true

require "time"

module NoDevent
  module Doctor
    # Compares the server's clock, as its answers tell it, with this machine's.
    module Clocks
      # Seconds that they may differ: with more, keys that are good for a short time are refused.
      SKEW = 5

      # @param date [String, nil] the header
      # @return [Finding]
      def self.compare(date, now: Time.now)
        return doubtful("the server does not tell its time") unless date

        seconds = (Time.httpdate(date) - now).round
        return Finding.new(level: :good, sentence: "the clocks agree") if seconds.abs <= SKEW

        way, end_of_keys = seconds.positive? ? ["ahead of", "early"] : %w[behind late]
        Finding.new(level: :bad, remedy: "run NTP on both machines",
                    sentence: "the server's clock is #{seconds.abs} s #{way} this machine's, so keys end too " \
                              "#{end_of_keys}")
      rescue ArgumentError
        doubtful("the server's time, #{date[0, 40].inspect}, cannot be read")
      end

      def self.doubtful(sentence)
        Finding.new(level: :doubtful, sentence: sentence, remedy: "compare the clocks by hand")
      end
      private_class_method :doubtful
    end
  end
end
