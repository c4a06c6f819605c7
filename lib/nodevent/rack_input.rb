# frozen_string_literal: true

module NoDevent
  # Reads the body of a request from its beginning. With Rack 3, a middleware that has read it before, as that of Rails
  # reads forms, has not rewound it.
  # @api private
  module RackInput
    # @param env [Hash] Rack's
    # @return [#read, nil]
    def self.of(env)
      input = env["rack.input"]
      input.rewind if input.respond_to?(:rewind)
      input
    end

    # @param env [Hash] Rack's
    # @param max [Integer, nil] the maximum number of bytes
    # @return [String]
    def self.read(env, max = nil)
      of(env)&.read(*max).to_s
    end
  end
end
