# frozen_string_literal: true

require "json"
require "yaml"

module NoDevent
  class Configuration
    # Reads YAML and JSON as the server does: every scalar is text, because `secret: 0123456` must not become a number in
    # one of the two. Only a plain `~`, `null`, `Null`, `NULL` or nothing is null. `protocol/vectors/configuration.json`
    # has the cases that both must read alike.
    module Tree
      # A value and its line: nil, a String, an Array of nodes, or a Hash of nodes by String.
      Node = Struct.new(:value, :line, keyword_init: true)

      # A text that cannot be read. `line` and `column` count from 1.
      class SyntaxError < StandardError
        attr_reader :line, :column

        def initialize(message, line, column = 1)
          super(message)
          @line = line
          @column = column
        end
      end

      NULL = ["", "~", "null", "Null", "NULL"].freeze

      private_constant :NULL

      class << self
        # @param text [String]
        # @param json [Boolean]
        # @return [Node]
        # @raise [SyntaxError]
        def parse(text, json: false)
          raise SyntaxError.new("the text is not UTF-8", 1) unless text.valid_encoding?

          text = text.delete_prefix("\uFEFF")
          json ? check_json(text) : check_erb(text)
          document = Psych.parse(text)
          document ? Builder.new.build(document.root) : Node.new(line: 1)
        rescue Psych::SyntaxError => e
          raise SyntaxError.new([e.problem, e.context].compact.join(" "), e.line, e.column)
        end

        # @param value [Object] as given in Ruby: numbers, Symbols and booleans become text
        # @return [Node]
        def wrap(value)
          case value
          when Configuration then wrap(value.to_h)
          when Hash then Node.new(value: value.to_h { |key, each| [key.to_s, wrap(each)] })
          when Array then Node.new(value: value.map { |each| wrap(each) })
          when nil then Node.new
          else Node.new(value: value.to_s)
          end
        end

        # @return [Object] the values without lines
        def unwrap(node)
          case node.value
          when Hash then node.value.transform_values { |each| unwrap(each) }
          when Array then node.value.map { |each| unwrap(each) }
          else node.value
          end
        end

        # @return [Node] `over` merged into `under`, mapping by mapping
        def merge(under, over)
          return over unless under.value.is_a?(Hash) && over.value.is_a?(Hash)

          Node.new(line: over.line, value: under.value.merge(over.value) { |_, one, other| merge(one, other) })
        end

        # @api private
        def null?(text)
          NULL.include?(text)
        end

        private

        def check_erb(text)
          index = text.index("<%") or return
          raise SyntaxError.new("ERB is not supported, because the server cannot evaluate it; write \"${NAME}\" or " \
                                "\"${NAME:-default}\"", text[0...index].count("\n") + 1)
        end

        # YAML accepts more than JSON, and Ruby's JSON accepts comments.
        def check_json(text)
          comment = text.gsub(/"(?:[^"\\]|\\.)*"/) { |string| " " * string.size }.index("/")
          raise SyntaxError.new("JSON has no comments", text[0...comment].count("\n") + 1) if comment

          JSON.parse(text)
        rescue JSON::ParserError => e
          raise SyntaxError.new("this is not JSON: #{e.message.lines.first.to_s.strip[0, 200]}", 1)
        end
      end

      # Converts Psych's syntax tree.
      class Builder
        def initialize
          @anchors = {}
        end

        # @param yaml [Psych::Nodes::Node]
        # @return [Node]
        # @raise [SyntaxError]
        def build(yaml)
          node = Node.new(line: yaml.start_line + 1)
          node.value = case yaml
                       when Psych::Nodes::Alias then return aliased(yaml)
                       when Psych::Nodes::Scalar then scalar(yaml)
                       when Psych::Nodes::Sequence then yaml.children.map { |child| build(child) }
                       when Psych::Nodes::Mapping then mapping(yaml)
                       end
          # Registered when complete, so that an anchor cannot contain itself.
          @anchors[yaml.anchor] = node if yaml.anchor
          node
        end

        private

        def aliased(yaml)
          @anchors[yaml.anchor] || fail_at(yaml, "the alias *#{yaml.anchor} has no anchor before it")
        end

        def scalar(yaml)
          plain = yaml.style == Psych::Nodes::Scalar::PLAIN
          plain && Tree.null?(yaml.value) ? nil : yaml.value
        end

        # Own keys take precedence over merged ones.
        def mapping(yaml)
          own = {}
          merged = {}
          yaml.children.each_slice(2) do |key, value|
            name = build(key).value
            fail_at(key, "a key must be text") unless name.is_a?(String)
            if name == "<<" then merge_into(merged, build(value))
            elsif own.key?(name) then fail_at(key, "the key `#{name}` is there twice")
            else
              own[name] = build(value)
            end
          end
          own.merge(merged) { |_, one, _| one }
        end

        def merge_into(entries, node)
          case node.value
          when Hash then node.value.each { |name, each| entries[name] ||= each }
          when Array then node.value.each { |each| merge_into(entries, each) }
          end
        end

        def fail_at(yaml, message)
          raise SyntaxError.new(message, yaml.start_line + 1, yaml.start_column + 1)
        end
      end
    end
  end
end
