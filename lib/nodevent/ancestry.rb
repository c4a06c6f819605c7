# frozen_string_literal: true

module NoDevent
  # What the extension needs to know about a class in order to name the rooms of its records as {Room} does.
  # @api private
  module Ancestry
    class << self
      # @param klass [Class] a class that includes {Base}
      # @return [Array, nil] the first class beneath {Base}, the modules between both, and Active Record's module with a
      #   `to_param`, if the class has it; nil if {Room} must name the rooms: of views of records, and if the class does
      def of(klass)
        return if view?(klass) || names_rooms?(klass)

        beneath = klass.ancestors.drop_while { |ancestor| !ancestor.equal?(Base) }.drop(1)
        modules = beneath.take_while { |ancestor| !ancestor.is_a?(::Class) }
        integration = defined?(::ActiveRecord::Integration) && klass < ::ActiveRecord::Integration
        [beneath[modules.size], modules, (::ActiveRecord::Integration if integration)]
      end

      private

      def view?(klass)
        return true if defined?(::Delegator) && klass <= ::Delegator

        defined?(::Draper::Decorator) && klass <= ::Draper::Decorator
      end

      def names_rooms?(klass)
        Room::OVERRIDES.any? { |name| !Reflection.own?(klass.instance_method(name), Base) }
      end
    end
  end
end
