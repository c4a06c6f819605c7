# frozen_string_literal: true

module NoDevent
  # Ruby's own reflection methods, called on objects that may have redefined them: a table may have a column `method`,
  # `send` or `object_id`. No other file calls these methods on an application's object.
  # @api private
  module Reflection
    CLASS = ::Kernel.instance_method(:class)
    METHOD = ::Kernel.instance_method(:method)
    RESPOND_TO = ::Kernel.instance_method(:respond_to?)
    PUBLIC_SEND = ::Kernel.instance_method(:public_send)
    INSTANCE_EXEC = ::BasicObject.instance_method(:instance_exec)
    GET = ::Kernel.instance_method(:instance_variable_get)
    SET = ::Kernel.instance_method(:instance_variable_set)
    NAME = ::Module.instance_method(:name)

    private_constant :CLASS, :METHOD, :RESPOND_TO, :PUBLIC_SEND, :INSTANCE_EXEC, :GET, :SET, :NAME

    class << self
      # A script's `def emit` at the top level is a private method of every object, and not meant.
      def application?(method, mod)
        method = method.super_method while method && own?(method, mod)
        !method.nil? && ![::Object, ::Kernel, ::BasicObject].include?(method.owner)
      end
      private :application?

      def class_of(object)
        CLASS.bind_call(object)
      end

      # @return [Method, nil]
      def method_of(object, name)
        METHOD.bind_call(object, name)
      rescue NameError
        nil
      end

      # @return [Boolean] whether a method is the one of `mod`, which the extension may have prepended
      def own?(method, mod)
        method.owner.equal?(mod) || (mod.equal?(Base) && method.owner.equal?(Native::RecordEmit))
      end

      # @return [Boolean] whether the application defines a method beneath `mod`, in a module or class that `mod` hides
      def beneath?(object, name, mod)
        method = method_of(object, name)
        method = method.super_method until method.nil? || method.owner.equal?(mod)
        application?(method, mod)
      rescue Ractor::Error
        false
      end

      # @return [Boolean] whether the application defines an instance method, beneath `mod` or above it
      def own_method?(klass, name, mod)
        klass.method_defined?(name) && application?(klass.instance_method(name), mod)
      end

      def responds?(object, name)
        RESPOND_TO.bind_call(object, name)
      end

      def call(object, name, ...)
        PUBLIC_SEND.bind_call(object, name, ...)
      end

      def instance_exec(object, ...)
        INSTANCE_EXEC.bind_call(object, ...)
      end

      def get(object, variable)
        GET.bind_call(object, variable)
      end

      def set(object, variable, value)
        SET.bind_call(object, variable, value)
      end

      # @return [String, nil] the name of a class or module. A `name` of its own counts if it is a String: anonymous
      #   classes get one that way. A scope `name` does not
      def name_of(mod)
        own = NAME.bind_call(mod)
        redefined = mod.name
        redefined.is_a?(String) ? redefined : own
      end
    end
  end
end
