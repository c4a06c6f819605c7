# frozen_string_literal: true

module NoDevent
  class Configuration
    # Reads the `history` section: how much history each room keeps. The server reads the same section; both must agree,
    # because with Redis the publisher stores the history.
    class History
      DEFAULT = { size: 100, age: 300_000 }.freeze
      MAX_SIZE = 1_000_000

      private_constant :DEFAULT, :MAX_SIZE

      # @param values [Values]
      # @return [Hash] `default` and `prefixes`; ages in milliseconds
      # @raise [ConfigurationError]
      def self.read(values)
        new(values).read
      end

      # @api private
      def initialize(values)
        @values = values
      end

      # @api private
      def read
        node = @values.node("history")
        case node&.value.then { |value| value.is_a?(String) ? value.downcase : value }
        when nil, *Values::YES then { default: DEFAULT, prefixes: [] }
        when *Values::NO then { default: nil, prefixes: [] }
        when Hash then mapping(node.value)
        when /\A[\d.]/ then { default: DEFAULT.merge(age: milliseconds("history", node)), prefixes: [] }
        else invalid!(node, "history")
        end
      end

      private

      def mapping(section)
        default = retention("history", section, DEFAULT)
        { default: default, prefixes: prefixes(section["rooms"], default) }
      end

      def retention(key, section, default)
        age = section["age"]
        { size: @values.count("#{key}.size", section["size"], default[:size], 1..MAX_SIZE),
          age: age&.value ? milliseconds("#{key}.age", age) : default[:age] }
      end

      def prefixes(rooms, default)
        return [] if rooms.nil? || rooms.value.nil?

        unless rooms.value.is_a?(Hash)
          @values.invalid!(rooms, "history.rooms", "is not a mapping of prefixes; write {Chat_: {size: 500}}")
        end

        rooms.value.map do |prefix, node|
          [prefix.sub(/\*+\z/, ""), prefix_retention("history.rooms.#{Tree.shown_key(prefix)}", node, default)]
        end
      end

      def prefix_retention(key, node, default)
        case node.value.then { |value| value.is_a?(String) ? value.downcase : value }
        when Hash then retention(key, node.value, default)
        when *Values::NO then nil
        else invalid!(node, key)
        end
      end

      def milliseconds(key, node)
        (@values.seconds(key, node, nil) * 1000).round
      end

      def invalid!(node, key)
        @values.invalid!(node, key, "is neither off nor an age; write off, or {size: 100, age: 5m}")
      end
    end
  end
end
