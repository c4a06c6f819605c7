# frozen_string_literal: true

module NoDevent
  module Doctor
    # What to do about the answers of others: a server that refuses a key, an engine that does not take an emission.
    module Remedies
      class << self
        # @param refusal [String] what the server says to a join
        def key(refusal)
          case refusal
          when "Bad key" then "the secrets differ: let both read one file"
          when "Time has passed", "Bad time" then "compare the clocks, and the server's `key_lifetime:`"
          else "see the server's log"
          end
        end

        # @param failure [String] the error's message
        def publishing(failure)
          case failure
          when /answered 40[13]/ then "let both read one file, so that their `publish_key:` agree"
          when /answered \d/ then "see the server's log"
          when /\Ano answer|is full|\ARedis refused/
            "start it, or correct `redis:` or `url:`, also user and password"
          else "mend the application's own publisher, or set NoDevent::Emitter.publisher = nil"
          end
        end
      end
    end
  end
end
