# frozen_string_literal: true

require "nodevent/configuration/redacted"

module NoDevent
  class Configuration
    # The keys of a section that has secrets, such as `token`, for what reads the keys of a namespace.
    class SecretSection
      include Unprintable

      # @param values [Values]
      # @param keys [Hash] the keys of the section
      # @param name [String] the section's name
      def initialize(values, keys, name)
        @values = values
        @keys = keys
        @name = name
      end

      def node(key)
        @keys[key]
      end

      def text(key, node = node(key))
        @values.text("#{@name}.#{key}", node)
      end

      def variable?(_key)
        @values.variable?(@name)
      end

      def invalid!(node, key, problem)
        @values.invalid!(node, "#{@name}.#{key}", problem)
      end

      # A text, or the first of a list.
      def first(key)
        node = node(key)
        node = node.value.first if node&.value.is_a?(Array)
        text(key, node)
      end
    end
  end
end
