# frozen_string_literal: true

module NoDevent
  module Cable
    # What the code of a method reads, sets and calls, for {Check}.
    # @api private
    class MethodBody
      # @return [Hash{String => Integer}] instance variables, and the lines where they are read
      attr_reader :reads
      # @return [Hash{String => Integer}] instance variables, and the lines where they are set
      attr_reader :sets
      # @return [Array<String>] the names of methods
      attr_reader :calls
      # @return [Boolean] whether a command can begin with it
      attr_accessor :public

      # @param definition [Array] the node of Ripper
      def initialize(definition, is_public)
        @reads = {}
        @sets = {}
        @calls = []
        @public = is_public
        read(definition)
        @calls.uniq!
      end

      private

      def read(node)
        return unless node.is_a?(Array)

        case node
        in [:assign | :opassign | :massign, *] then read_assignment(node)
        in [:@ivar, name, [line, _]] then reads[name] ||= line
        in [:vcall | :fcall | :command, [:@ident, name, _], *arguments]
          calls << name
          read(arguments)
        else node.each { |child| read(child) }
        end
      end

      def read_assignment(node)
        case node
        in [:assign, [:var_field, [:@ivar, name, [line, _]]], value]
          sets[name] ||= line
          read(value)
        in [:opassign, [:var_field, [:@ivar, name, [line, _]]], [_, operator, _], value]
          (operator == "||=" ? sets : reads)[name] ||= line
          read(value)
        in [:massign, targets, value]
          read_targets(targets)
          read(value)
        else node.drop(1).each { |child| read(child) }
        end
      end

      def read_targets(node)
        case node
        in [:@ivar, name, [line, _]] then sets[name] ||= line
        else node.each { |child| read_targets(child) if child.is_a?(Array) }
        end
      end
    end
  end
end
