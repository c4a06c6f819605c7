# frozen_string_literal: true

require "yaml"

module NoDevent
  class Configuration
    module Tree
      # Reads YAML from Psych's syntax tree, before Psych guesses any types.
      class YAMLReader
        NULL = ["", "~", "null", "Null", "NULL"].freeze
        TAGS = [nil, "!", *%w[str seq map].map { |name| "tag:yaml.org,2002:#{name}" }].freeze
        STANDARD_TAGS = %w[binary bool float int map merge null omap pairs seq set str timestamp].freeze
        MAX_DEPTH = 32
        # Values after aliases are expanded. A few aliases of aliases would otherwise fill the memory.
        MAX_NODES = 20_000

        private_constant :NULL, :TAGS, :STANDARD_TAGS, :MAX_DEPTH, :MAX_NODES

        # @param text [String]
        def initialize(text)
          @lines = text.lines(chomp: true)
          @text = text
          @anchors = {}
          @nodes = 0
        end

        # @return [Node]
        # @raise [SyntaxError]
        def read
          documents = Psych.parse_stream(@text).children
          fail_at(documents[1], "the file has a second document") if documents.size > 1

          root = documents.empty? ? Node.new : build(documents.first.root, 0)
          raise SyntaxError.new("the file is empty", 1) if root.value.nil?

          root
        rescue Psych::SyntaxError => e
          tab_at(e.line - 1)
          raise SyntaxError.new([e.problem, e.context].compact.join(" "), e.line, e.column)
        end

        private

        def build(yaml, depth)
          @nodes += 1
          if depth > MAX_DEPTH || @nodes > MAX_NODES
            fail_at(yaml,
                    "the file is nested too deeply or has too many values")
          end
          return aliased(yaml) if yaml.is_a?(Psych::Nodes::Alias)

          unless TAGS.include?(yaml.tag)
            fail_at(yaml, "the tag `#{shown(yaml.tag)}` is not supported; delete it, or put a value that begins " \
                          "with `!` into quotes")
          end

          began = @nodes
          @anchors[yaml.anchor] = :unfinished if yaml.anchor
          node = Node.new(value: value(yaml, depth), **location(yaml))
          @anchors[yaml.anchor] = [node, @nodes - began + 1] if yaml.anchor
          node
        end

        def value(yaml, depth)
          case yaml
          when Psych::Nodes::Scalar
            yaml.style == Psych::Nodes::Scalar::PLAIN && yaml.tag.nil? && NULL.include?(yaml.value) ? nil : yaml.value
          when Psych::Nodes::Sequence then yaml.children.map { |child| build(child, depth + 1) }
          when Psych::Nodes::Mapping then mapping(yaml, depth)
          end
        end

        def aliased(yaml)
          node, size = @anchors[yaml.anchor]
          # Without its name, which may be a secret that begins with `*`.
          fail_at(yaml, "an alias has no anchor before it; put a value that begins with `*` into quotes") if node.nil?
          fail_at(yaml, "an anchor contains itself") if node == :unfinished

          @nodes += size
          node
        end

        # Own keys take precedence over merged ones.
        def mapping(yaml, depth)
          own = {}
          merged = {}
          yaml.children.each_slice(2) do |key, value|
            name = key_of(yaml, key, depth)
            if name == "<<" && key.style == Psych::Nodes::Scalar::PLAIN
              merge_into(merged, build(value, depth + 1))
            elsif own.key?(name) then fail_at(key, "the key `#{Tree.shown_key(name)}` is written twice")
            else
              own[name] = build(value, depth + 1).dup.tap { |node| node.key = location(key) }
            end
          end
          own.merge(merged) { |_, one, _| one }
        end

        def key_of(mapping, key, depth)
          name = build(key, depth + 1).value
          fail_at(key, "a key is not text") unless name.is_a?(String)
          tab_at(key.start_line, key.start_column) if mapping.style != Psych::Nodes::Mapping::FLOW
          name
        end

        def merge_into(entries, node)
          case node.value
          when Hash then node.value.each { |name, each| entries[name] ||= each }
          when Array then node.value.each { |each| merge_into(entries, each) }
          else raise SyntaxError.new("`<<` does not refer to a map", node.line, node.column)
          end
        end

        # A tab in the indentation of a line, or of the next: libyaml reports the value before it.
        def tab_at(index, before = nil)
          [index, before ? nil : index + 1].compact.each do |number|
            line = number.negative? ? "" : @lines[number].to_s
            column = line[/\A\s*/].index("\t")
            next if column.nil? || line.strip.empty? || (before && column >= before)

            raise SyntaxError.new("a tab indents the line; indent with spaces", number + 1, column + 1)
          end
        end

        # A secret that begins with `!` is read as a tag.
        def shown(tag)
          name = tag.delete_prefix("tag:yaml.org,2002:")
          STANDARD_TAGS.include?(name) ? "!!#{name}" : "!…"
        end

        def location(yaml)
          { line: yaml.start_line + 1, column: yaml.start_column + 1 }
        end

        def fail_at(yaml, message)
          raise SyntaxError.new(message, yaml.start_line + 1, yaml.start_column + 1)
        end
      end
    end
  end
end
