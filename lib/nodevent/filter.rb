# frozen_string_literal: true

module NoDevent
  # Leaves out of a record's JSON what the application keeps out of its logs: filtered, encrypted and password
  # attributes. Used for the default message of {Changes#emits_changes} only.
  # @api private
  module Filter
    # A value that no filter produces.
    PROBE = "nodevent"
    @reported = {}

    private_constant :PROBE

    class << self
      # @param record [ActiveRecord::Base]
      # @return [Object] the record if nothing is filtered; otherwise its JSON as a Hash without the filtered attributes
      def message(record)
        omitted = omitted(record)
        return record if omitted.empty?

        json = record.as_json
        return record unless json.is_a?(Hash)

        omitted &= json.keys.map(&:to_s)
        return record if omitted.empty?

        report(Reflection.class_of(record), omitted)
        json.reject { |key, _| omitted.include?(key.to_s) }
      end

      private

      def omitted(record)
        klass = Reflection.class_of(record)
        filter = ActiveSupport::ParameterFilter.new(filters(klass))
        klass.attribute_names.select do |name|
          filter.filter_param(name, PROBE.dup) != PROBE || encrypted?(klass, name) || digest?(record, name)
        end
      end

      def filters(klass)
        parameters = defined?(Rails.application) && Rails.application ? Rails.application.config.filter_parameters : []
        (klass.respond_to?(:filter_attributes) ? klass.filter_attributes : []) | parameters
      end

      def encrypted?(klass, name)
        klass.respond_to?(:encrypted_attributes) && klass.encrypted_attributes&.include?(name.to_sym)
      end

      # The column of has_secure_password.
      def digest?(record, name)
        name.end_with?("_digest") && Reflection.responds?(record, "authenticate_#{name.delete_suffix('_digest')}")
      end

      # Once per class and process.
      def report(klass, omitted)
        return if @reported[klass] == omitted

        @reported[klass] = omitted
        Logger.current.warn("nodevent: emits_changes of #{klass} omits #{omitted.join(', ')}, which the application " \
                            "filters; select the attributes with emits_changes message: ->(record) { … }")
      end
    end
  end
end
