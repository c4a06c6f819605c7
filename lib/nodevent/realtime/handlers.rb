# frozen_string_literal: true

module NoDevent
  class Realtime
    # What the application has registered with {Realtime.handler} and {Realtime.on}.
    # @api private
    module Handlers
      EVENTS = %i[join leave].freeze
      # The actions of messages that the server itself understands.
      RESERVED = %w[ping call-route call_route].freeze

      @handlers = {}
      @hooks = []

      class << self
        def add(name, block)
          raise ArgumentError, "a handler needs a block: |message, session, response|" unless block
          raise ArgumentError, "the server itself handles `#{name}`" if RESERVED.include?(name.to_s)

          # New objects: another thread may be reading the old ones.
          @handlers = @handlers.merge(name.to_s => block)
        end

        def add_hook(event, block)
          unless EVENTS.include?(event.to_sym)
            raise ArgumentError, "there is no event `#{Text.clean(event, 40)}`; there are join and leave"
          end
          raise ArgumentError, "NoDevent::Realtime.on(:#{event}) needs a block" unless block

          @hooks += [[event.to_sym, block]]
        end

        # @return [Proc, nil]
        def find(name)
          @handlers[name]
        end

        # @return [Array<Proc>] in their order
        def hooks(event)
          @hooks.filter_map { |name, block| block if name == event }
        end

        # Removes all.
        def clear
          @handlers = {}
          @hooks = []
        end
      end
    end
  end
end
