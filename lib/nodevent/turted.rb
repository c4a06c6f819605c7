# frozen_string_literal: true

require "json"
require "nodevent/http_request"

module NoDevent
  # Pushes events to users and channels of the dialect `turted`, as backends of TURTED do: a request to `/push/` with a
  # password. Each call waits for the response.
  # @example
  #   turted = NoDevent::Turted.new(url: "http://localhost:7117/push/", password: ENV.fetch("TURTED_PUSH_PASSWORD"))
  #   turted.notify_user("xosofox", "MESSAGE:NEW", { msg: "Hello" })
  class Turted
    # An event that was not delivered. It carries what was to be sent, without the password.
    class NotDelivered < StandardError
      include Error

      # @return [String] the event
      attr_reader :event
      # @return [Hash] the targets: `users`, `channels`, `broadcast`
      attr_reader :targets
      # @return [Object] the payload
      attr_reader :payload
      # @return [Integer, nil] the status of the response; nil without one
      attr_reader :status

      def initialize(reason, event:, targets:, payload:, status: nil)
        super("#{Text.value(event)} was not delivered: #{reason}")
        @event = event
        @targets = targets
        @payload = payload
        @status = status
      end
    end

    # @param url [String] the address of pushes, with its path
    # @param password [String] the password of pushes
    # @param timeout [Numeric] seconds for a request with its response
    # @raise [ConfigurationError] if one of them cannot be used
    def initialize(url:, password:, timeout: 5)
      @url = check_url(url)
      @auth = { "password" => check_password(password) }
      @timeout = check_timeout(timeout)
    end

    # @return [String] without the password
    def inspect
      "#<#{self.class} #{@url.inspect}>"
    end

    # Sends an event to the connections of a user, or of several users.
    # @param user [String, Integer, Array]
    # @param event [String, Symbol]
    # @param payload [Object] becomes JSON; without it `{}`
    # @param options see {#emit}
    # @return [void]
    # @raise [NotDelivered]
    def notify_user(user, event, payload = nil, **options)
      emit(event, { users: user }, payload, **options)
    end

    # Sends an event to the members of a channel, or of several channels.
    # @param channel [String, Array]
    # @param event [String, Symbol]
    # @param payload [Object] becomes JSON; without it `{}`
    # @param options see {#emit}
    # @return [void]
    # @raise [NotDelivered]
    def notify_channel(channel, event, payload = nil, **options)
      emit(event, { channels: channel }, payload, **options)
    end

    # Sends an event to several kinds of targets.
    # @param targets [Hash] see {#emit}
    # @param event [String, Symbol]
    # @param payload [Object] becomes JSON; without it `{}`
    # @param options see {#emit}
    # @return [void]
    # @raise [NotDelivered]
    def notify(targets, event, payload = nil, **options)
      emit(event, targets, payload, **options)
    end

    # Sends an event. Each connection receives it once.
    # @param event [String, Symbol]
    # @param targets [Hash] `users:` and `channels:`, each one name or a list of names; `broadcast: true`
    # @param data [Object] the payload; without it `{}`
    # @param url [String] another address for this event
    # @param auth [Object] another `auth` for this event
    # @return [void]
    # @raise [ArgumentError] if the targets cannot be used
    # @raise [EncodingError] if the payload cannot become JSON
    # @raise [NotDelivered]
    def emit(event, targets, data = nil, url: @url, auth: @auth)
      targets = targets_of(targets)
      body = { "event" => event.to_s, "targets" => targets, "payload" => data.nil? ? {} : data }
      json = encode(body.merge("auth" => auth))
      error = failure(check_url(url), json) or return
      raise NotDelivered.new(error.first, event: body["event"], targets: targets, payload: data, status: error.last)
    end

    private

    # @return [Array, nil] the reason and the status
    def failure(url, json)
      response = HttpRequest.post(url, json, nil, timeout: @timeout)
      return if response.is_a?(Net::HTTPOK) && response.body == "OK"

      ["the server responded with #{response.code}: #{Text.clean(response.body.to_s, 200)}", response.code.to_i]
    rescue HttpRequest::Failed => e
      [e.message, nil]
    end

    def targets_of(targets)
      raise ArgumentError, "targets: is a Hash with users:, channels: or broadcast:" unless targets.is_a?(Hash)

      targets = targets.transform_keys(&:to_s)
      unknown = targets.keys - %w[users channels broadcast]
      raise ArgumentError, "targets: has unknown keys: #{Text.clean(unknown.join(', '), 100)}" if unknown.any?

      %w[users channels].each do |kind|
        targets[kind] = Array(targets[kind]).map(&:to_s) if targets.key?(kind)
      end
      targets
    end

    def encode(body)
      JSON.generate(body)
    rescue JSON::JSONError, ::EncodingError => e
      raise EncodingError, "the payload cannot become JSON: #{Text.clean(e.message, 200)}"
    end

    def check_url(url)
      uri = URI(url.to_s)
      return url.to_s if uri.is_a?(URI::HTTP) && uri.host && uri.userinfo.nil?

      raise ConfigurationError, "url: is the address of pushes, like http://localhost:7117/push/"
    rescue URI::InvalidURIError
      raise ConfigurationError, "url: is not a URL; write it like http://localhost:7117/push/"
    end

    def check_password(password)
      return password if password.is_a?(String) && !password.empty?

      raise ConfigurationError, "password: is empty; pass the one of `turted: { push: { password: } }` of the server"
    end

    def check_timeout(timeout)
      return timeout if timeout.is_a?(Numeric) && timeout.positive?

      raise ConfigurationError, "timeout: is a number of seconds"
    end
  end
end
