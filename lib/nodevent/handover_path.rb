# frozen_string_literal: true

require "fileutils"

module NoDevent
  # Where the Unix socket is through which an application hands connections over to its server. Does not need the rest
  # of the gem, because Puma loads its plugins before the application.
  # @api private
  module HandoverPath
    # The environment variable that names it.
    VARIABLE = "NODEVENT_HANDOVER_SOCKET"
    # The path in the folder of an application whose server Puma starts.
    DEFAULT = "tmp/sockets/nodevent.sock"
    # The longest path of a Unix socket on all systems.
    #
    # # Units
    # Bytes.
    MAX_BYTES = 103

    class << self
      # @return [String, nil] the path that the environment names
      def named
        path = ENV.fetch(VARIABLE, "")
        path unless path.empty?
      end

      # @param root [String] the folder of the application
      # @return [String]
      def default(root = Dir.pwd)
        File.expand_path(DEFAULT, root)
      end

      # @param configuration [String] the configuration file of a server that is about to start
      # @yieldparam reason [String] why there is none
      # @return [String, nil] the path for this server. `nil`: there is none, or the file names another one
      def for_server(configuration)
        return named if named
        return if File.exist?(configuration) && File.read(configuration).match?(/^\s*handover_socket\s*:/)

        path = default
        if path.bytesize > MAX_BYTES
          yield "#{path} is too long for a Unix socket; name a shorter path by #{VARIABLE}"
          return
        end
        FileUtils.mkdir_p(File.dirname(path))
        path
      rescue SystemCallError => e
        yield "#{e.message}; name a path by #{VARIABLE}"
        nil
      end
    end
  end
end
