# frozen_string_literal: true

module NoDevent
  class Configuration
    # Reads which protocols the server serves in a namespace, and where pages connect to that of Action Cable. The
    # server validates both.
    module Protocols
      # What the server serves if nothing is written.
      DEFAULT = %w[socket_io].freeze
      CABLE_PATH = "/cable"

      private_constant :DEFAULT, :CABLE_PATH

      class << self
        # @param values [Values]
        # @return [Hash{Symbol => Object}] the settings of the namespace
        def read(values)
          { protocols: protocols(values.own["protocol"] || values.top["protocol"]), cable_path: cable_path(values) }
        end

        private

        def protocols(node)
          names = node&.value.is_a?(Array) ? node.value.map(&:value) : [node&.value]
          names = names.grep(String)
          names.empty? ? DEFAULT : names.freeze
        end

        def cable_path(values)
          section = (values.own["action_cable"] || values.top["action_cable"])&.value
          path = section["path"]&.value if section.is_a?(Hash)
          path.is_a?(String) && path.start_with?("/") ? path : CABLE_PATH
        end
      end
    end
  end
end
