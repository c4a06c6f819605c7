# frozen_string_literal: true

require "rbs"

# The methods that a file of signatures declares.
module Signatures
  class << self
    # @return [Array] `[owner, name, whether it is a singleton method]` of each method
    def methods_in(path)
      # rbs 3 returns the buffer and the directives, too.
      RBS::Parser.parse_signature(File.read(path)).flatten.flat_map { |declaration| methods_of(declaration, Object) }
    end

    private

    def methods_of(declaration, outer)
      return [] if !declaration.respond_to?(:members) || declaration.is_a?(RBS::AST::Declarations::Interface)

      owner = outer.const_get(declaration.name.to_s)
      declaration.members.flat_map do |member|
        case member
        when RBS::AST::Members::MethodDefinition, RBS::AST::Members::AttrReader
          [[owner, member.name, member.kind == :singleton]]
        else methods_of(member, owner)
        end
      end
    end
  end
end
