# frozen_string_literal: true

module NoDevent
  # Reads the body of a request.
  # @api private
  module RackInput
    # @param env [Hash] Rack's
    # @param max [Integer, nil] the maximum number of bytes
    # @return [String] from its beginning. With Rack 3, a middleware that has read the body before has not rewound it
    def self.read(env, max = nil)
      input = env["rack.input"] or return ""
      input.rewind if input.respond_to?(:rewind)
      input.read(*max).to_s
    end
  end
end
