# frozen_string_literal: true

require "json"

module NoDevent
  class Realtime
    # Receives what the server reports about pages, at the path `calls: handlers`: messages for handlers, and which
    # pages have joined and left. Only signed requests reach it.
    # @api private
    module Endpoint
      # What a hook sees: the request of the page's socket.
      class Context
        # @return [Hash] Rack's environment
        attr_reader :env

        def initialize(env)
          @env = env
        end

        # @return [Socket]
        def socket
          Realtime.socket(env)
        end

        # @return [Rack::Request]
        def request
          @request ||= defined?(ActionDispatch::Request) ? ActionDispatch::Request.new(env) : Rack::Request.new(env)
        end

        # @return [#[]] the session of the visitor
        def session
          env["rack.session"]
        end
      end

      class << self
        # @param env [Hash] Rack's
        # @return [Array] Rack's response. What a handler raises goes through: the application reports it, and the
        #   server replies to the page that the handler has failed
        def call(env)
          return json(405, error: "the method is not POST") unless env["REQUEST_METHOD"] == "POST"

          body = read(env)
          case body["type"]
          when "message" then message(env, body)
          when "join", "leave" then notify(env, body["type"].to_sym)
          else json(400, error: "unknown type")
          end
        end

        private

        def read(env)
          body = JSON.parse(RackInput.read(env))
          body.is_a?(Hash) ? body : {}
        rescue JSON::ParserError
          {}
        end

        def message(env, body)
          handler = Handlers.find(body["action"].to_s) or
            return json(404, error: "No message handler named #{Text.clean(body['action'], 100)}")

          message = body["message"]
          response = { id: message["id"] }
          result = handler.call(message, env["rack.session"], response)
          json(200, result.is_a?(Hash) ? result : response)
        end

        def notify(env, event)
          context = Context.new(env)
          Handlers.hooks(event).each { |hook| context.instance_exec(&hook) }
          [204, {}, []]
        end

        def json(status, body)
          [status, { "content-type" => "application/json", "cache-control" => "no-store" }, [JSON.generate(body)]]
        end
      end
    end
  end
end
