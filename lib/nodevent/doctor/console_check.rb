# frozen_string_literal: true

module NoDevent
  module Doctor
    # Says where the console is, if there is one in this environment.
    module ConsoleCheck
      # The names of this machine in an address.
      LOCAL = %r{\Ahttp://(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?\z}

      private_constant :LOCAL

      class << self
        # @param origin [String, nil] the address of the application for browsers
        # @return [Array<Finding>]
        def findings(origin)
          return [] unless Console.on?

          url = Console.url(origin&.match?(LOCAL) ? origin : nil) || server
          [Finding.new(level: :ok, message: "the console, for browsers on this machine: #{url}")].select { url }
        end

        private

        # That of the server, which has no keys.
        def server
          address = Emitter.config.public_url
          "#{address}#{Console::PAGE}" if address.match?(LOCAL)
        end
      end
    end
  end
end
