# frozen_string_literal: true

module NoDevent
  module Publisher
    # `exit!` skips `at_exit`, and with it the flush of the queue. This hook flushes in the children of libraries that
    # end their jobs so, and reports what is lost everywhere else.
    module ExitHook
      # The constants of libraries that fork a child per job and leave it with `exit!`.
      LIBRARIES = %w[Resque::Worker Parallel].freeze

      private_constant :LIBRARIES

      # For `Process.exit!` and `Kernel.exit!`.
      module Singleton
        def exit!(*)
          ExitHook.run
          super
        end
      end

      # For a plain `exit!`, which is a private method of every object.
      module Instance
        private

        def exit!(*)
          ExitHook.run
          super
        end
      end

      class << self
        def install
          Process.singleton_class.prepend(Singleton)
          Kernel.singleton_class.prepend(Singleton)
          Kernel.prepend(Instance)
        end

        # Never raises: nothing may keep a process from exiting.
        def run
          return if Native.stats.first.zero?

          Reporter.flush_unsent(flush: LIBRARIES.any? { |name| Object.const_defined?(name) })
        rescue StandardError => e
          Kernel.warn(Text.line("nodevent: #{e.class} at exit!: #{e.message}"))
        end
      end
    end
  end
end
