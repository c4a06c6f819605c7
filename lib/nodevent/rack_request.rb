# frozen_string_literal: true

module NoDevent
  # The request that blocks of the application receive: that of Rails, or of Rack.
  # @api private
  module RackRequest
    # @param env [Hash] Rack's
    # @return [ActionDispatch::Request, Rack::Request]
    def self.of(env)
      return ActionDispatch::Request.new(env) if defined?(ActionDispatch::Request)

      require "rack"
      Rack::Request.new(env)
    end
  end
end
