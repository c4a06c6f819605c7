# frozen_string_literal: true

require "json"
require "nodevent/server_request"

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
        response, result = ServerRequest.post(config, ["revoke"], body, "NoDevent.revoke")
        return if response.is_a?(Net::HTTPOK) && result["revoked"] == true

        reason = Text.clean(result.values_at("error", "hint").compact.join("; "))
        raise RevokeError, "the server did not revoke (status #{response.code}): #{reason}"
      rescue HttpRequest::Failed => e
        raise RevokeError, "the server did not revoke: #{e.message}"
      end
    end
  end
end
