# frozen_string_literal: true

module NoDevent
  module Testing
    # Knows which test a thread belongs to: the test's own thread, and all threads and fibers that it starts.
    # @api private
    class Context
      KEY = :nodevent_test

      private_constant :KEY

      @running = []

      # Hands the test on to threads of Thread.new.
      module Inherit
        def initialize(*arguments, **options, &block)
          super(*arguments, **options, &Context.handing_on(block))
        end
      end

      # Hands the test on to threads of Thread.start and Thread.fork.
      module InheritStart
        def start(*arguments, **options, &block)
          super(*arguments, **options, &Context.handing_on(block))
        end

        def fork(*arguments, **options, &block)
          super(*arguments, **options, &Context.handing_on(block))
        end
      end

      class << self
        # @return [Context, nil]
        def current
          context = Thread.current.thread_variable_get(KEY)
          context if context&.running?
        end

        def current=(context)
          Thread.current.thread_variable_set(KEY, context)
        end

        def enter
          install
          leave
          self.current = new.tap { |context| @running += [context] }
        end

        def leave
          context = Thread.current.thread_variable_get(KEY)
          @running -= [context]
          self.current = nil
        end

        def running?(context)
          @running.include?(context)
        end

        # @return [Proc, nil] the block of a new thread, which belongs to the current test
        def handing_on(block)
          context = current
          return block if context.nil? || block.nil?

          proc do |*arguments, **options|
            self.current = context
            block.call(*arguments, **options)
          end
        end

        # The only running test: it also sees what threads emit that were there before it, such as a server's.
        def only
          @running.first if @running.one?
        end

        private

        def install
          return if @installed

          @installed = true
          Thread.prepend(Inherit)
          Thread.singleton_class.prepend(InheritStart)
        end
      end

      def running?
        Context.running?(self)
      end
    end
  end
end
