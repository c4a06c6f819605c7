# frozen_string_literal: true

require "json"
require "nodevent/doctor/http"

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
        url = config.url or raise ConfigurationError, "`notify` sends to the server over HTTP, and `url` is false; " \
                                                      "write the server's address as `url`"
        uri = URI("#{url}/api#{config.namespace}/notify")
        ids(Doctor::Http.post(uri.to_s, body, config.publish_key, timeout: timeout), uri)
      rescue Doctor::Http::Failed => e
        raise PublishError, "no confirmation from #{url}: #{Text.clean(e.message, 200)}; the message may have been " \
                            "stored; send it again with the same `key:`"
      end

      def ids(response, uri)
        body = JSON.parse(response.body.to_s)
        return body.fetch("ids") if response.is_a?(Net::HTTPSuccess)

        text = Text.clean("#{body['error']}; #{body['hint']}", 300)
        raise PublishError, "#{uri.host} rejected the message with status #{response.code}: #{text}"
      rescue JSON::ParserError, KeyError, TypeError, NoMethodError
        raise PublishError, "#{uri.host} replied to the message with status #{response.code} and no result; is " \
                            "#{uri} a NoDevent server?"
      end
    end
  end
end
