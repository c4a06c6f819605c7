# frozen_string_literal: true

require "nodevent/configuration/json_reader"
require "nodevent/configuration/yaml_reader"

module NoDevent
  class Configuration
    # A configuration's text as a tree in which every value knows its location. Reads YAML and JSON as the server does:
    # every scalar is text, because `secret: 0123456` must not become a number in one of the two, and everything on
    # which YAML readers disagree is an error. `protocol/vectors/configuration.json` lists the cases.
    module Tree
      # A value and its location: nil, a String, an Array of nodes, or a Hash of nodes by String. `key` is the location
      # of its key, if it has one.
      Node = Struct.new(:value, :line, :column, :key, keyword_init: true)

      # A text that cannot be read. Line and column count from 1.
      class SyntaxError < StandardError
        attr_reader :line, :column

        def initialize(message, line, column = 1)
          super(message)
          @line = line
          @column = column
        end
      end

      MAX_BYTES = 1024 * 1024
      # Characters that are invisible in an editor.
      INVISIBLE = /[\u0000-\u0008\u000B-\u001F\u007F-\u0084\u0086-\u009F\uFEFF\u200B-\u200F\u2028\u2029]/

      # Keys that a message may contain: those that consist of letters. A message never contains values, and a key can
      # be one by mistake, as in `{secret:word}`, where the blank is missing.
      PLAIN_KEY = %r{\A[A-Za-z_./-]{1,40}\z}
      # What a message contains instead.
      HIDDEN = "…"

      private_constant :MAX_BYTES, :INVISIBLE, :PLAIN_KEY

      class << self
        # @param text [String]
        # @param json [Boolean]
        # @return [Node]
        # @raise [SyntaxError]
        def parse(text, json: false)
          raise SyntaxError.new("the file is larger than 1 MB", 1) if text.bytesize > MAX_BYTES
          raise SyntaxError.new("the file is not UTF-8", 1) unless text.valid_encoding?

          text = text.delete_prefix("\uFEFF")
          check_characters(text)
          json ? JSONReader.new(text).read : YAMLReader.new(text).read
        end

        # @param value [Object] as given in Ruby: numbers, Symbols and booleans become text
        # @return [Node]
        def wrap(value)
          case value
          when Configuration then wrap(value.to_h.compact)
          when Hash then Node.new(value: value.to_h { |key, each| [key.to_s, wrap(each)] })
          when Array then Node.new(value: value.map { |each| wrap(each) })
          when nil then Node.new
          else Node.new(value: value.to_s)
          end
        end

        # @param key [#to_s]
        # @return [String] the key as a message may contain it
        def shown_key(key)
          key.to_s.match?(PLAIN_KEY) ? key.to_s : HIDDEN
        end

        # @return [Object] the values without locations
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

          merged = under.value.merge(over.value) { |_, one, other| merge(one, other) }
          Node.new(value: merged, line: over.line, column: over.column)
        end

        private

        def check_characters(text)
          text.each_line(chomp: true).with_index(1) do |line, number|
            if (column = line.index("<%")) && !line.lstrip.start_with?("#")
              raise SyntaxError.new("ERB is not supported, because the server cannot evaluate it; write \"${NAME}\" " \
                                    "or \"${NAME:-default}\"", number, column + 1)
            end

            column = line.index(INVISIBLE) or next
            raise SyntaxError.new("there is an invisible character, #{line[column].dump}; delete it", number,
                                  column + 1)
          end
        end
      end
    end
  end
end
