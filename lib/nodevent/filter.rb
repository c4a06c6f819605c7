# frozen_string_literal: true

module NoDevent
  # Leaves out of a record's JSON, at every depth, what the application keeps out of its logs: filtered, encrypted and
  # password attributes. Used for the default message of {Changes#emits_changes} only.
  # @api private
  class Filter
    # A value that no filter produces.
    PROBE = "nodevent"
    # The nesting at which JSON generators stop too.
    MAX_DEPTH = 100
    # The number of keys per class that the log names.
    MAX_REPORTED = 100
    DIGEST = /_digest\z/
    @reported = {}

    private_constant :PROBE, :MAX_DEPTH, :MAX_REPORTED, :DIGEST

    class << self
      # @param record [ActiveRecord::Base]
      # @return [Object] its JSON, without what is filtered
      # @raise [EncodingError] if it is nested too deeply
      def message(record)
        klass = Reflection.class_of(record)
        filter = new
        json = filter.without_secrets(json(record), klass)
        report(klass, filter.omitted) if filter.omitted.any?
        json
      end

      # With the argument that Active Support passes when it encodes a member of a Hash, if the method takes one.
      # @param object [#as_json]
      # @return [Object] its JSON
      def json(object)
        kinds = Reflection.method_of(object, :as_json)&.parameters.to_a.map(&:first)
        (kinds & %i[req opt rest]).any? ? object.as_json({}) : object.as_json
      end

      private

      # Each key once per class and process. The keys of a column with JSON may come from users.
      def report(klass, omitted)
        reported = @reported[klass] ||= []
        omitted -= reported
        return if omitted.empty? || reported.size >= MAX_REPORTED

        reported.concat(omitted)
        Logger.log(:warn, "emits_changes of #{klass} omits #{Text.clean(omitted.join(', '))}, which the " \
                          "application filters; select the attributes with emits_changes message: ->(record) { … }")
      end
    end

    # @return [Array<String>] the keys that were left out, with those above them: `author.email`
    def omitted
      @omitted.keys
    end

    def initialize
      @omitted = {}
      @filters = {}
      @depth = 0
    end

    # @param value [Object] JSON, or an object in it
    # @param klass [Class] the model whose JSON it is; below something that is no association, the one above
    # @param path [Array<String>] the keys above it
    # @return [Object] a copy without what is filtered
    def without_secrets(value, klass, path = [])
      nested do
        case value
        when Hash then members(value, klass, path)
        when Array then value.map { |each| without_secrets(each, klass, path) }
        when nil, true, false, String, Symbol, Numeric then value
        else object(value, klass, path)
        end
      end
    end

    private

    def nested
      @depth += 1
      if @depth > MAX_DEPTH
        raise EncodingError, "cannot convert the message of emits_changes to JSON: it is nested more than " \
                             "#{MAX_DEPTH} deep; select the attributes with emits_changes message: ->(record) { … }"
      end
      yield
    ensure
      @depth -= 1
    end

    def members(hash, klass, path)
      hash.each_with_object({}) do |(key, value), kept|
        name = key.to_s.underscore
        here = path + [key.to_s]
        if secret?(name, klass, here)
          @omitted[here.join(".")] = true
        else
          kept[key] = without_secrets(value, class_of(name, klass), here)
        end
      end
    end

    # An application's own `as_json` may return records, times and other objects.
    def object(value, klass, path)
      klass = Reflection.class_of(value) if value.is_a?(::ActiveRecord::Base)
      json = Filter.json(value)
      json.is_a?(Hash) || json.is_a?(Array) ? without_secrets(json, klass, path) : json
    end

    # The model of an association. A root key and a column with JSON stay with the record's.
    def class_of(name, klass)
      klass.reflect_on_association(name)&.klass || klass
    rescue NameError, ArgumentError, ::ActiveRecord::ActiveRecordError
      # A polymorphic association has no class of its own.
      klass
    end

    def secret?(name, klass, path)
      filter, nested = filters(klass)
      return true if [path.last, name].uniq.any? { |each| filtered?(filter, each) }
      return true if nested && filtered?(nested, [klass.model_name.param_key, *path.map(&:underscore)].join("."))

      encrypted?(klass, name) || digest?(klass, name)
    end

    def filtered?(filter, name)
      filter.filter_param(name, PROBE.dup) != PROBE
    end

    # @return [Array(ActiveSupport::ParameterFilter, ActiveSupport::ParameterFilter)] for names; and for names with
    #   those above them, such as `author.email`, if there are any
    def filters(klass)
      @filters[klass] ||= begin
        filters = list(klass)
        nested = filters.select { |filter| !filter.is_a?(Proc) && path_filter?(filter) }
        [ActiveSupport::ParameterFilter.new(filters), (ActiveSupport::ParameterFilter.new(nested) if nested.any?)]
      end
    end

    # As Active Support decides it.
    def path_filter?(filter)
      filter.to_s.include?(filter.is_a?(Regexp) ? "\\." : ".")
    end

    def list(klass)
      parameters = defined?(Rails.application) && Rails.application ? Rails.application.config.filter_parameters : []
      (klass.respond_to?(:filter_attributes) ? klass.filter_attributes : []) | parameters
    end

    def encrypted?(klass, name)
      klass.respond_to?(:encrypted_attributes) && klass.encrypted_attributes&.include?(name.to_sym)
    end

    # The columns of has_secure_password. In JSON that is not the model's, any digest.
    def digest?(klass, name)
      return false unless name.match?(DIGEST)

      klass.method_defined?("authenticate_#{name.sub(DIGEST, '')}") || !klass.attribute_names.include?(name)
    end
  end
end
