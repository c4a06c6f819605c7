# frozen_string_literal: true

require "digest"
require "json"
require "nodevent/cable/stream_name"
require "nodevent/cable/fragment"
require "nodevent/cable/stamp"
require "nodevent/cable/helper"

module NoDevent
  # Action Cable and Turbo Streams with this server: what the application publishes, and how its channels in Ruby are
  # called. `adapter: nodevent` in `config/cable.yml` uses it, and so do the helpers of Turbo. See docs/action-cable.md.
  module Cable
    # The name of the server's protocol.
    PROTOCOL = "action_cable"
    # The event of messages, whose names Action Cable does not know.
    EVENT = "broadcast"
    # What the rooms begin with whose revocation ends a connection: its client comes back, or does not.
    RECONNECT = "action_cable_remote/"
    STAY_AWAY = "action_cable_end/"
    # Longer identifiers of connections are replaced by their hash. Bytes.
    MAX_IDENTIFIER = 200

    private_constant :RECONNECT, :STAY_AWAY, :MAX_IDENTIFIER

    class << self
      # Publishes to a stream, as `ActionCable.server.broadcast` does with `adapter: nodevent`.
      # @example
      #   NoDevent::Cable.broadcast("posts", { title: "Hello" })
      # @param stream [String] the name of the stream
      # @param message [#to_json]
      # @param namespace [String, Symbol, nil] another namespace than the first with `protocol: action_cable`
      # @return see {Emitter.emit}
      # @raise see {Emitter.emit}
      def broadcast(stream, message, namespace: nil)
        namespace_of(namespace).publish(stream, EVENT, message, {})
      end

      # Ends connections of channels in Ruby, as `remote_connections.where(…).disconnect` does with `adapter: nodevent`.
      # @param identifier [String] `connection_identifier` of the connections
      # @param reconnect [Boolean] whether their clients come back
      # @param namespace see {broadcast}
      # @return [void]
      # @raise [RevokeError] if the server could not be reached, or did not do it
      # @raise [ConfigurationError]
      def disconnect(identifier, reconnect: true, namespace: nil)
        rooms = rooms_of(identifier)
        Revocation.revoke(config(namespace), room: rooms.fetch(reconnect ? :reconnect : :stay_away))
      end

      # The address of the WebSocket for pages.
      # @example config/environments/production.rb
      #   config.action_cable.url = NoDevent::Cable.url
      # @param namespace see {broadcast}
      # @return [String] `wss://live.example.com/cable`; a path if {NoDevent::Server} is mounted
      # @raise [ConfigurationError]
      def url(namespace: nil)
        config = config(namespace)
        "#{Server.base(config).sub(/\Ahttp/, 'ws')}#{config.cable_path}"
      end

      # Signs the name of a stream, for a page that may subscribe to it.
      # @param streamables [Array] records, and whatever `turbo_stream_from` accepts
      # @return [String] `data--signature`
      # @raise [ConfigurationError] if the key is not known
      def signed_stream_name(*streamables)
        StreamName.sign(StreamName.of(streamables), stream_key)
      end

      # @return [String] the key that signs names of streams: that of Turbo, or derived from `secret_key_base` of Rails
      # @raise [ConfigurationError] outside of Rails, if it was not set
      def stream_key
        @stream_key || turbo_key || rails_key ||
          raise(ConfigurationError, "the key of signed names of streams is not known outside of Rails; write " \
                                    "NoDevent::Cable.stream_key = …, the `signed_stream_key` of the server")
      end

      # @param key [String, nil] `nil` for that of Rails
      # @return [void]
      attr_writer :stream_key

      # @api private
      # @return [Configuration] that of the namespace
      # @raise [ConfigurationError]
      def config(namespace = nil)
        namespace_of(namespace).config
      end

      # @api private
      # @return [Namespace] the one of this name, or the first with `protocol: action_cable`
      # @raise [ConfigurationError] if there is none
      def namespace_of(name)
        return NoDevent.namespace(name) if name

        current = Emitter.config
        return @chosen.last if @chosen&.first.equal?(current)

        found = current.namespaces.find { |config| config.protocols.include?(PROTOCOL) }
        # Tests record what would be sent, also without a configuration.
        return Namespace.default if found.nil? && Publisher.custom
        raise ConfigurationError, NO_NAMESPACE unless found

        @chosen = [current, Namespace.new(found.namespace)]
        @chosen.last
      end

      # @api private
      # @return [Hash{String => Array<String>}] the paths to which the server sends commands for channels in Ruby, and
      #   the namespaces from which it sends them
      # @raise [ConfigurationError]
      def endpoints
        current = Emitter.config
        return @endpoints.last if @endpoints&.first.equal?(current)

        served = current.namespaces.select { |one| one.protocols.include?(PROTOCOL) && one.calls&.handlers }
        endpoints = served.group_by { |one| one.calls.handlers }.transform_values { |all| all.map(&:namespace) }
        @endpoints = [current, endpoints]
        endpoints
      end

      # @api private
      # @return [Hash{Symbol => String}] the rooms whose revocation ends the connections with an identifier
      def rooms_of(identifier)
        long = identifier.bytesize > MAX_IDENTIFIER
        identifier = "sha256:#{Digest::SHA256.hexdigest(identifier)}" if long || identifier.start_with?("sha256:")
        { reconnect: "#{RECONNECT}#{identifier}", stay_away: "#{STAY_AWAY}#{identifier}" }
      end

      private

      def turbo_key
        ::Turbo.signed_stream_verifier_key if defined?(::Turbo) && ::Turbo.respond_to?(:signed_stream_verifier_key)
      end

      def rails_key
        return unless defined?(::Rails) && ::Rails.respond_to?(:application) && ::Rails.application

        ::Rails.application.key_generator.generate_key(StreamName::SALT, StreamName::KEY_BYTES)
      end

      NO_NAMESPACE = "no namespace has `protocol: action_cable`; write `/cable: {protocol: action_cable, …}` in " \
                     "config/nodevent.yml, or run `rails generate nodevent:cable`"

      private_constant :NO_NAMESPACE
    end
  end
end
