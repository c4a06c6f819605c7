# frozen_string_literal: true

require "json"
require "nodevent/realtime/signed_request"
require "nodevent/cable/session"
require "stringio"

module NoDevent
  module Cable
    # Rack middleware that runs the commands of connections, which the server sends to the path of `calls: handlers`:
    # with them it calls the application's channels. Only requests that the server has signed reach them. The railtie
    # adds it if Action Cable is loaded. `protocol/README.md` section 17 has the requests and replies.
    class Endpoint
      COMMANDS = { "connect" => :connect, "subscribe" => :subscribe, "perform" => :perform,
                   "unsubscribe" => :unsubscribe, "disconnect" => :disconnected }.freeze
      # What belongs to the request of the server, and not to the visitor's.
      OWN = /\A(?:HTTP_X_NODEVENT_|action_dispatch\.(?:cookies\z|request\.)|rack\.request\.|CONTENT_|HTTP_HOST\z)/
      NAMESPACE = "HTTP_X_NODEVENT_NAMESPACE"
      # The headers with the visitor's address and scheme.
      ADDRESS = "HTTP_X_FORWARDED_FOR"
      SCHEME = "HTTP_X_FORWARDED_PROTO"

      private_constant :COMMANDS, :OWN, :NAMESPACE, :ADDRESS, :SCHEME

      # @param app [#call] the application
      def initialize(app)
        @app = app
      end

      # @param env [Hash] Rack's
      # @return [Array] Rack's response
      def call(env)
        namespaces = namespaces(env) or return @app.call(env)
        return respond(405, error: "the method is not POST") unless env["REQUEST_METHOD"] == "POST"

        # A secret of one namespace does not speak for another.
        unless Realtime::SignedRequest.verify(env) && namespaces.include?(env[NAMESPACE])
          Logger.log(:warn, "channels: a request without a valid signature was rejected; check `calls: secret`, and " \
                            "the clocks of server and application")
          return respond(401, error: "the signature is wrong or too old")
        end
        run(env, JSON.parse(body(env)))
      rescue JSON::ParserError
        respond(400, error: "the body is not JSON")
      end

      private

      # The namespaces of the server that send commands to this path.
      def namespaces(env)
        Cable.endpoints[Realtime::SignedRequest.path(env)]
      rescue ConfigurationError
        # What needs the configuration reports it.
        nil
      end

      def body(env)
        RackInput.read(env)
      end

      def run(env, request)
        # A message of a page to a handler has another type.
        command = COMMANDS[request["command"]] if request.is_a?(Hash) && request["type"] == "command"
        return respond(400, error: "unknown command") unless command && request["message"].is_a?(Hash)

        session = Session.new(visitor(env, request["message"]), request["message"])
        reply = execute(session, command)
        reply[:disconnect] = { reconnect: session.reconnect } unless session.reconnect.nil?
        respond_with(reply, session.transmissions)
      end

      def execute(session, command)
        reply = nil
        session.within_callbacks { reply = session.public_send(command) }
        # A callback may have stopped the command.
        reply || { status: "error" }
      rescue State::Unsupported, Session::Unsupported => e
        # It would fail again.
        Logger.log(:error, "channels: #{e.message}")
        { status: command == :perform ? "error" : "rejected" }
      rescue StandardError => e
        return gone(session) if defined?(ActiveRecord::RecordNotFound) && lost_identity?(session, e)

        session.failed(e)
      end

      # A record of `identified_by` does not exist any more: the connection is decided about again.
      def lost_identity?(session, error)
        error.is_a?(ActiveRecord::RecordNotFound) && session.lost_identity?
      end

      def gone(session)
        session.disconnect(true)
        { status: "error" }
      end

      # The environment of the visitor's own request, as far as the server knows it.
      def visitor(env, message)
        own = env.reject { |name, _| name.match?(OWN) }
        own.merge("REQUEST_METHOD" => "GET", "PATH_INFO" => "/cable", "SCRIPT_NAME" => "", "REQUEST_URI" => nil,
                  "QUERY_STRING" => message["query"].to_s, "HTTP_HOST" => message["host"] || env["HTTP_HOST"],
                  "HTTP_ORIGIN" => message["origin"], "REMOTE_ADDR" => env[ADDRESS] || env["REMOTE_ADDR"],
                  "rack.url_scheme" => env[SCHEME] || env["rack.url_scheme"], "rack.input" => StringIO.new).compact
      end

      # Transmissions are JSON already.
      def respond_with(reply, transmissions)
        body = JSON.generate(reply).chop
        [200, headers, ["#{body},\"transmissions\":[#{transmissions.join(',')}]}"]]
      end

      def respond(status, body)
        [status, headers, [JSON.generate(body)]]
      end

      def headers
        { "content-type" => "application/json", "cache-control" => "no-store" }
      end
    end
  end
end
