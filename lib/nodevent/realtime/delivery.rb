# frozen_string_literal: true

require "json"
require "nodevent/server_request"

module NoDevent
  class Realtime
    # Brings subscriptions and pushes to the server. A push to one channel or page is a publication, which the publisher
    # sends in the background. Subscriptions, and patterns of channels, are requests, which return when the engine has
    # them.
    # @api private
    module Delivery
      # The maximum duration of a request.
      #
      # # Units
      # Seconds.
      TIMEOUT = 5
      # How long pushes before a request may take. If they take longer, the request overtakes them.
      #
      # # Units
      # Seconds.
      FLUSH_TIMEOUT = 1
      # The statuses of a server that cannot store the request now: its engine is unavailable, or it has no place for
      # another page, which its visitors decide.
      UNAVAILABLE = %w[503 507].freeze

      private_constant :UNAVAILABLE

      # The server could not be reached, or cannot store the request now.
      class Unavailable < ServerError; end

      class << self
        # @param page [String] the digest
        # @param subscribe [Array<String>]
        # @param unsubscribe [Array<String>]
        # @return [void]
        # @raise [Unavailable, ServerError, ConfigurationError]
        def change(page, subscribe: [], unsubscribe: [])
          body = { page: page, unsubscribe: unsubscribe, subscribe: subscribe }.reject { |_, value| value.empty? }
          request("pages", JSON.generate(body))
        end

        # @param message [#to_json]
        # @param names [Array<String>] channels, or patterns
        # @return [true, false, nil] see {Emitter.emit}
        # @raise see {Emitter.emit}
        def push(message, names)
          return if Silence.on?

          patterns, literal = names.partition { |name| Channels.pattern?(name) }
          # One request for all: a channel that a pattern matches, and that is named too, gets the message once.
          return push_to_patterns(message, names) if patterns.any?

          literal.map { |name| publish(name, { room: Channels.room(name), event: name, message: message }) }.all?
        end

        # @param message [#to_json]
        # @param name [String] the channel that the page shall see
        # @param page [String] the digest
        # @return see {push}
        # @raise see {push}
        def push_to_page(message, name, page)
          return if Silence.on?

          publish("page", { user: page, event: name, message: message })
        end

        private

        def publish(place, publication)
          config = Realtime.settings.publishing
          json = Encoder.encode(place, publication, config)
          payload = { room: place, event: publication[:event], channel: config.namespace, bytes: json.bytesize }
          Instrumentation.instrument("emit.nodevent", payload) do |instrumented|
            instrumented[:result] = deliver(config, json)
          end
        end

        def deliver(config, json)
          publisher = Publisher.current(config)
          Publisher.deliver(publisher, config.namespace, json) ? true : false
        rescue Publisher::BackgroundPublisher::Closed
          # Another thread replaced the configuration after this one chose the publisher.
          config = Realtime.settings.publishing
          publisher.equal?(Publisher.current(config)) ? raise : retry
        end

        # The message is checked and converted as that of a publication.
        def push_to_patterns(message, names)
          target = { room: Channels.room("*"), event: "push" }
          json = Encoder.encode(names.join(", "), target.merge(message: message), Realtime.settings.config)
          before = %(#{target.to_json.delete_suffix('}')},"message":)
          request("push", %({"channels":#{names.to_json},"message":#{json.delete_prefix(before)}))
          true
        end

        # Pushes that this process has queued before arrive before.
        def request(path, json)
          config = Realtime.settings.config
          custom = Publisher.custom
          return custom.realtime(config.namespace, path, json) if custom.respond_to?(:realtime)

          config.url or raise ConfigurationError, "NoDevent::Realtime sends requests to the server, and `url` is " \
                                                  "false; write the server's address as `url:`"
          flush
          check(*ServerRequest.post(config, [path], json, "NoDevent::Realtime", timeout: TIMEOUT))
        rescue HttpRequest::Failed => e
          raise Unavailable, "the server at #{Text.clean(config.url)} is unavailable: #{e.message}"
        end

        def flush
          publisher = Publisher.current(Realtime.settings.publishing)
          publisher.flush(FLUSH_TIMEOUT) if publisher.respond_to?(:pending) && publisher.pending.positive?
        end

        def check(response, body)
          return if response.is_a?(Net::HTTPSuccess) && body.key?("channels")

          reason = body.empty? ? ServerRequest::NOT_A_SERVER : body.values_at("error", "hint").compact.join("; ")
          text = "the server refused with #{response.code}: #{Text.clean(reason)}"
          raise UNAVAILABLE.include?(response.code) ? Unavailable : ServerError, text
        end
      end
    end
  end
end
