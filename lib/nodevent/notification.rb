# frozen_string_literal: true

require "json"
require "nodevent/server_request"

module NoDevent
  # Sends a message to the mailboxes of users: with `redis`, it stores the message there by the scripts of the server,
  # and otherwise through the server's HTTP API.
  # @api private
  module Notification
    # The longest idempotency key. Bytes.
    MAX_KEY = 255

    private_constant :MAX_KEY

    class << self
      # @return see {Emitter.notify}
      # @raise see {Emitter.notify}
      def deliver(config, user, event, message, options)
        many = user.respond_to?(:to_ary) ? user.to_ary : nil
        users = (many || [user]).map { |one| User.id(one, "a message") }
        return [] if users.empty?

        body = encode(users, Encoder.event_name(event), message, seconds(options[:ttl]),
                      check_key(options[:key]))
        ids = store(config, body, options[:timeout] || config.publisher.timeout)
        many ? users.map { |one| ids[users.uniq.index(one)] } : ids.first
      end

      private

      def store(config, body, timeout)
        custom = Publisher.custom
        return custom.notify(config.namespace, body) if custom.respond_to?(:notify)
        return post(config, body, timeout) unless config.redis && custom.nil?

        Publisher.current(config).notify(body, timeout)
      end

      def encode(users, event, message, ttl, key)
        notification = { users: users.uniq, event: event, message: message, ttl: ttl, key: key }
        Encoder.encoding { notification.to_json }
      rescue JSON::GeneratorError, JSON::NestingError, ::EncodingError, SystemStackError => e
        raise EncodingError, "the message for the event #{Text.value(event)} cannot be converted to JSON: " \
                             "#{Text.clean(e.message, 200)}"
      end

      def seconds(ttl)
        return if ttl.nil?

        seconds = Float(ttl)
        return seconds if seconds.positive? && seconds.finite?

        raise ArgumentError, "invalid ttl: must be a positive number of seconds"
      end

      def check_key(key)
        return if key.nil?

        key = key.to_s
        return key if key.bytesize.between?(1, MAX_KEY)

        raise ArgumentError, "invalid key: must be 1 to #{MAX_KEY} bytes"
      end

      def post(config, body, timeout)
        response, result = ServerRequest.post(config, ["notify"], body, "`notify`", timeout: timeout)
        return result["ids"] if response.is_a?(Net::HTTPSuccess) && result["ids"].is_a?(Array)

        raise PublishError, "#{URI(config.url).host} #{rejection(response, result)}"
      rescue HttpRequest::Failed => e
        raise PublishError, "no confirmation from #{config.url}: #{Text.clean(e.message, 200)}; the message may have " \
                            "been stored; send it again with the same `key:`"
      end

      def rejection(response, result)
        unless result["error"]
          return "replied to the message with status #{response.code} and no result; is it a NoDevent server?"
        end

        text = Text.clean(result.values_at("error", "hint").compact.join("; "), 300)
        "rejected the message with status #{response.code}: #{text}"
      end
    end
  end
end
