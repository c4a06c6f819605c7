# frozen_string_literal: true

require "time"

module NoDevent
  module Doctor
    # Compares the server's clock, as its responses report it, with this machine's.
    module Clocks
      # The maximum difference in seconds; with more, keys with a short lifetime are rejected.
      SKEW = 5

      # @param date [String, nil] the Date header
      # @return [Finding]
      def self.compare(date, now: Time.now)
        return warn("the server's responses have no Date header") unless date

        seconds = (Time.httpdate(date) - now).round
        return Finding.new(level: :ok, message: "the clocks agree") if seconds.abs <= SKEW

        direction, expiry = seconds.positive? ? ["ahead of", "early"] : %w[behind late]
        Finding.new(level: :fail, hint: "run NTP on both machines",
                    message: "the server's clock is #{seconds.abs} s #{direction} this machine's, so keys expire too " \
                             "#{expiry}")
      rescue ArgumentError
        warn("cannot parse the server's Date header #{Text.value(date)}")
      end

      def self.warn(message)
        Finding.new(level: :warn, message: message, hint: "compare the clocks manually")
      end
      private_class_method :warn
    end
  end
end
