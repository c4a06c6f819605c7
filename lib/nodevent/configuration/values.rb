# frozen_string_literal: true

require "nodevent/configuration/redacted"

module NoDevent
  class Configuration
    # Reads and validates the settings of one namespace, from its section or from the top level of a document. Numbers,
    # sizes, durations and flags are written as the server reads them.
    class Values
      include Unprintable

      # One way of writing a number only: YAML readers disagree about `010`, `0x10`, `1_000` and `+8`.
      NUMBER = /0|[1-9]\d*/
      DURATION = /\A(#{NUMBER}(?:\.\d*)?) *(ms|s|m|h|d)?\z/
      UNITS = { "ms" => 0.001, "s" => 1, "m" => 60, "h" => 3600, "d" => 86_400, nil => 1 }.freeze
      SIZE = /\A(#{NUMBER}) *(b|kb?|mb?|gb?)?\z/i
      SHARE = /\A(?:0(?:\.\d+)?|1(?:\.0+)?)\z/
      SIZE_UNITS = { "k" => 1024, "m" => 1024**2, "g" => 1024**3 }.freeze
      MAX_SIZE = (2**64) - 1
      YES = %w[true yes on].freeze
      NO = %w[false no off].freeze

      private_constant :NUMBER, :DURATION, :UNITS, :SIZE, :SHARE, :SIZE_UNITS, :MAX_SIZE

      # @return [String]
      attr_reader :namespace

      # @param namespace [String, nil] one of the document's; by default the one it selects, or its first
      def initialize(document, default_namespace, namespace = nil)
        @document = document
        @sections = document.top.keys.grep(%r{\A/})
        @namespace = choose(namespace, default_namespace)
        own = document.top[@namespace]
        unless own.nil? || own.value.nil? || own.value.is_a?(Hash)
          document.invalid!(own, @namespace, "is #{describe(own)}, not a mapping")
        end
        @own = own&.value || {}
      end

      # @return [Tree::Node, nil] the setting, with `${…}` replaced
      def node(key)
        found = raw(key)
        found && @document.interpolate(found, key_path(key))
      end

      # @return [Boolean] whether the setting depends on the environment
      def variable?(key)
        @document.variable?(raw(key))
      end

      # @return [String] the full key of a setting, for messages
      def key_path(key)
        @own.key?(key[/\A\w+/]) ? "#{namespace}.#{key}" : key
      end

      # @return [Hash{String => Tree::Node}]
      def mapping(key)
        node = node(key)
        return {} if node.nil? || node.value.nil?

        node.value.is_a?(Hash) ? node.value : invalid!(node, key, "is #{describe(node)}, not a mapping")
      end

      # @param key [String] of the mapping
      # @param given [Hash{String => Tree::Node}]
      # @param known [Array<Symbol>]
      # @raise [ConfigurationError] if it has another key
      def check_keys(key, given, known)
        unknown = (given.keys - known.map(&:to_s)).first or return
        name = "#{key}.#{Tree.shown_key(unknown)}"
        invalid!(given[unknown], name, "is unknown; known keys are #{known.join(', ')}")
      end

      # @return [String, nil] a non-empty text
      def text(key, node = node(key))
        # A key without a value is a mistake in a file; in Ruby, `nil` is as good as no key.
        return if node.nil? || (node.value.nil? && node.line.nil?)
        return node.value if node.value.is_a?(String) && !node.value.empty?

        invalid!(node, key, "is #{describe(node)}; write a value, or remove the key")
      end

      # @param folder [String] that of relative paths
      # @return [String, nil] a path
      def path(key, folder)
        path = text(key)
        path && File.expand_path(path, folder)
      end

      # @return [String, nil] `public_url`, or `host` if it has a scheme: without one, it is the address that the server
      #   binds
      def public_url
        url = text("public_url")
        return check_userinfo("host", address(text("host"))) if url.nil?

        check_userinfo("public_url", address(url)) ||
          invalid!(node("public_url"), "public_url", "is not a URL; write it like https://push.example.com")
      end

      # @return [Boolean] whether `url` names a server to publish to
      def url?
        url = node("url")
        !(url.nil? || url.value.nil? || (url.value.is_a?(String) && NO.include?(url.value.downcase)))
      end

      # @param default [String] used if `url` is not set
      # @return [String, nil]
      def url(default)
        url = node("url")
        return default.start_with?("//") ? "http:#{default}" : default if url.nil? || url.value.nil?
        return unless url?

        text = check_userinfo("url", text("url").sub(%r{/+\z}, ""))
        text.match?(%r{\Ahttps?://[^/]}) ? text : invalid!(url, "url", "is not a URL; write http://localhost:8080")
      end

      # @param range [Range]
      def count(key, node, default, range = 1..)
        text = text(key, node) or return default

        number = text.match?(/\A#{NUMBER}\z/) ? text.to_i : -1
        return number if range.cover?(number)

        limit = range.end ? "a whole number from #{range.begin} to #{range.end}" : "a positive whole number"
        invalid!(node, key, "is not a valid number; write #{limit}")
      end

      # @return [Float, nil] seconds
      def seconds(key, node, default)
        text = text(key, node) or return default

        number, unit = text.match(DURATION)&.captures
        seconds = number && (number.to_f * UNITS[unit])
        seconds && seconds < 2**64 ? seconds : invalid!(node, key, "is not a valid duration; write it like 5s or 250ms")
      end

      # @return [Float, nil] a number from 0 to 1
      def share(key, node, default)
        text = text(key, node) or return default
        return text.to_f if text.match?(SHARE)

        invalid!(node, key, "is not a share; write a number from 0 to 1, like 0.01")
      end

      # @return [Integer, nil] bytes
      def size(key, node, default)
        text = text(key, node) or return default

        number, unit = text.match(SIZE)&.captures
        size = number && (number.to_i * SIZE_UNITS.fetch(unit.to_s[0].to_s.downcase, 1))
        size&.between?(1, MAX_SIZE) ? size : invalid!(node, key, "is not a valid size; write it like 64KB or 1MB")
      end

      # @return [Boolean] false if it is not set
      def flag(key)
        node = node(key)
        text = text(key, node)
        return false if text.nil? || NO.include?(text.downcase)

        YES.include?(text.downcase) || invalid!(node, key, "is neither true nor false; write true or false")
      end

      # @param words [Array<String>] the accepted values
      # @param default [String] used if it is not set
      # @return [String] one of the words
      def word(key, words, default)
        node = node(key)
        text = text(key, node)
        return text || default if text.nil? || words.include?(text)

        invalid!(node, key, "is not one of its words; write #{words[..-2].join(', ')} or #{words.last}")
      end

      # @return [Array<String>] the namespaces of the document
      attr_reader :sections

      # @return [Hash{String => Tree::Node}] the keys of the namespace's section
      attr_reader :own

      # @return [Hash{String => Tree::Node}]
      def top
        @document.top
      end

      # @raise [ConfigurationError]
      def invalid!(node, key, problem)
        @document.invalid!(node, key_path(key), problem)
      end

      # Without the settings, which contain secrets.
      def inspect
        "#<#{self.class}>"
      end

      private

      # Pages would show it, or nothing would send it. The message does not contain it.
      def check_userinfo(key, url)
        # A password that is not escaped may contain `/`.
        return url unless url&.match?(%r{//.*@})

        invalid!(node(key), key, "contains a user or password, which is not sent; delete it, and write the key that " \
                                 "authorizes publishing as `publish_key:`")
      end

      def raw(key)
        @own.key?(key) ? @own[key] : @document.top[key]
      end

      # The kind and not the value, which may be a secret in the wrong place.
      def describe(node)
        case node.value
        when Hash then "a mapping"
        when Array then "a list"
        when nil, "" then "empty"
        else "text"
        end
      end

      def address(url)
        url.sub(%r{/+\z}, "") if url&.match?(%r{\A(https?:)?//}i)
      end

      def choose(wanted, default)
        named = wanted || selected
        return @sections.first || default if named.nil?

        name = "/#{named.delete_prefix('/')}"
        if @sections.include?(name) || (@sections.empty? && (wanted.nil? || wanted == selected_name(default)))
          return name
        end

        no_namespace!(wanted && name, default)
      end

      # @param name [String, nil] the name that the application passed. One that the file contains is not shown
      def no_namespace!(name, default)
        known = @sections.empty? ? selected_name(default) : @sections.join(", ")
        problem = name ? "is #{name}, but the file" : "is not in the file, which"
        @document.invalid!(@document.top["namespace"], "namespace", "#{problem} contains only #{known}")
      end

      def selected
        node = @document.top["namespace"]
        node && text("namespace", @document.interpolate(node, "namespace"))
      end

      def selected_name(default)
        "/#{(selected || default).delete_prefix('/')}"
      end
    end
  end
end
