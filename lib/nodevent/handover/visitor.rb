# frozen_string_literal: true

module NoDevent
  module Handover
    # What the application knows about the visitor of a connection, as {NoDevent.identify} says it.
    # @api private
    module Visitor
      KEYS = %i[user info rooms expires].freeze

      private_constant :KEYS

      class << self
        # @param namespace [String, nil] its name; nil for the default one
        # @param block [Proc]
        def configure(namespace, block)
          @blocks = blocks.merge(namespace => block)
        end

        # Asks the application. Its errors are those of the request.
        # @param env [Hash] Rack's
        # @return [Hash{String => Hash}] the identities by namespace
        def identities(env)
          return {} if blocks.empty?

          request = RackRequest.of(env)
          blocks.each_with_object({}) do |(namespace, block), identities|
            name = namespace || Namespace.default.name
            said = block.call(request)
            identities[name] = identity(said) unless said.nil?
          end
        end

        private

        def blocks
          @blocks ||= {}
        end

        def identity(said)
          unless said.is_a?(Hash)
            raise ArgumentError, "the block of NoDevent.identify returns a Hash or nil, not an object of the class " \
                                 "#{Reflection.class_of(said)}"
          end
          unknown = said.keys - KEYS
          raise ArgumentError, "NoDevent.identify: unknown key #{Text.value(unknown.first)}" unless unknown.empty?

          expires = said[:expires] && (RoomKey.timestamp(said[:expires]) / 1000.0)
          { user: User.id(said[:user], "NoDevent.identify"), rooms: rooms(said[:rooms]), info: info(said[:info]),
            expires: expires }.compact
        end

        def rooms(rooms)
          rooms = rooms.respond_to?(:to_ary) ? rooms.to_ary : [rooms]
          rooms = rooms.compact.map { |object| Room.of(object) }
          rooms unless rooms.empty?
        end

        def info(info)
          info.respond_to?(:as_json) ? info.as_json : info
        end
      end
    end
  end
end
