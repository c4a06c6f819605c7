# frozen_string_literal: true

require "json"
require "nodevent/doctor/http"

module NoDevent
  # Asks the server to revoke: `POST /api/<namespace>/revoke`, section 12 of protocol/README.md. The call returns when
  # the engine has the revocation.
  # @api private
  module Revocation
    # The earliest time that is accepted: 9 September 2001. Seconds since 1970.
    EARLIEST = 1_000_000_000

    private_constant :EARLIEST

    class << self
      # @return [void]
      # @raise [ArgumentError, ConfigurationError, RevokeError]
      def revoke(config, user: nil, room: nil, before: nil)
        raise ArgumentError, "NoDevent.revoke needs a user: or a room:" if user.nil? && room.nil?

        body = { user: user && User.id(user, "a revocation"), room: room && Room.of(room),
                 before: seconds(before) }.compact
        json = JSON.generate(body)
        return post(config, json) unless Publisher.custom.respond_to?(:revoke)

        Publisher.custom.revoke(config.namespace, json)
        nil
      end

      private

      # Seconds, as in `iat`. Text, a duration, or a small number would mean a time long ago, and would revoke
      # nothing.
      def seconds(before)
        return if before.nil?

        seconds = if before.is_a?(String) then nil
                  elsif before.respond_to?(:to_f) then before.to_f
                  elsif before.respond_to?(:to_time) then before.to_time.to_f
                  end
        return seconds if seconds && seconds >= EARLIEST

        raise ArgumentError, "before: is a time or a number of seconds since 1970, after 2001, not an object of the " \
                             "class #{Reflection.class_of(before)}"
      end

      def post(config, body)
        unless (url = config.url)
          raise ConfigurationError, "NoDevent.revoke sends a request to the server, and `url` is false; write the " \
                                    "server's address as `url:`"
        end
        target = "#{url.delete_suffix('/')}/api#{config.namespace}/revoke"
        response = Doctor::Http.post(target, body, config.publish_key)
        return if response.is_a?(Net::HTTPOK) && json(response)["revoked"] == true

        raise RevokeError, "the server did not revoke (status #{response.code}): #{Text.clean(reason(response))}"
      rescue Doctor::Http::Failed => e
        raise RevokeError, "the server did not revoke: #{e.message}"
      end

      def reason(response)
        json(response).values_at("error", "hint").compact.join("; ")
      end

      # The object of a response. Empty if the response is that of another program.
      def json(response)
        body = JSON.parse(response.body.to_s.dup.force_encoding(Encoding::UTF_8))
        body.is_a?(Hash) ? body : {}
      rescue JSON::ParserError
        {}
      end
    end
  end
end
