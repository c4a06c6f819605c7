# frozen_string_literal: true

module NoDevent
  module Doctor
    # Hints for failures that others report: a server that rejects a key, an engine that rejects a publication.
    module Hints
      class << self
        # @param refusal [String] the server's reason for refusing a join
        def key(refusal)
          case refusal
          when "Bad key" then "the secrets differ, or `bound_keys:` does; let both read the same file"
          when "Time has passed", "Bad time", "Lifetime too long"
            "compare the clocks, and the server's `max_key_lifetime:`"
          else "see the server's log"
          end
        end

        # @param refusal [String] the server's reason for refusing a token
        def token(refusal)
          case refusal
          when "Token has expired", "Token not valid yet", "Token issued in the future", "Token lifetime too long"
            "compare the clocks, and the server's `token: max_lifetime:`"
          else "the secrets differ, or `aud:` or `iss:` do; let both read the same file"
          end
        end

        # @param failure [String] the error's message
        def publishing(failure)
          case failure
          when /returned 40[13]/ then "let both read the same file, so that their `publish_key:` agree"
          when /returned \d/ then "see the server's log"
          when /\Ano response|is full|\ARedis rejected/
            "start it, or correct `redis:` or `url:`, including user and password"
          else "fix the application's custom publisher, or set NoDevent::Emitter.publisher = nil"
          end
        end
      end
    end
  end
end
