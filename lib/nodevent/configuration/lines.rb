# frozen_string_literal: true

require "yaml"

module NoDevent
  class Configuration
    # Finds the line of a setting in YAML text (JSON is YAML), for messages.
    module Lines
      class << self
        # @param text [String]
        # @param place [String] as in messages: `/nodevent.redis.port`, `secrets[0].secret`
        # @param sections [Array<String>] sections that may contain the place
        # @return [Integer, nil]
        def of(text, place, sections)
          root = YAML.parse(text)&.root
          keys = place.scan(/[^.\[\]]+/)
          [*sections.map { |section| [section, *keys] }, keys].filter_map { |path| line(root, path) }.first
        rescue Psych::Exception
          nil
        end

        private

        def line(node, path)
          return node && (node.start_line + 1) if path.empty?

          below = below(node, path.first)
          below && line(below, path.drop(1))
        end

        def below(node, name)
          case node
          when Psych::Nodes::Mapping
            pair = node.children.each_slice(2).find { |key, _| key.is_a?(Psych::Nodes::Scalar) && key.value == name }
            pair&.last
          when Psych::Nodes::Sequence then node.children[name.to_i]
          end
        end
      end
    end
  end
end
