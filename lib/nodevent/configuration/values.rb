# frozen_string_literal: true

module NoDevent
  class Configuration
    # Reads and validates the settings of one namespace, from its section or from the top level of a document.
    class Values
      DURATION = /\A(\d+(?:\.\d+)?)(ms|s|m|h|d)?\z/
      UNITS = { "ms" => 0.001, "s" => 1, "m" => 60, "h" => 3600, "d" => 86_400, nil => 1 }.freeze

      private_constant :DURATION, :UNITS

      # @return [String]
      attr_reader :namespace

      def initialize(document, default_namespace)
        @document = document
        sections = document.top.keys.grep(%r{\A/})
        @namespace = choose(sections, default_namespace)
        own = document.top[@namespace]
        document.invalid!(@namespace, "is #{own.class}, not a mapping") unless own.nil? || own.is_a?(Hash)
        @own = own || {}
      end

      # @return [Object, nil] the setting as written, with `${…}` replaced
      def value(key)
        @document.interpolate(@own.key?(key) ? @own[key] : @document.top[key], key_path(key))
      end

      # @return [String] the full key of a setting, for messages
      def key_path(key)
        @own.key?(key[/\A\w+/]) ? "#{namespace}.#{key}" : key
      end

      def mapping(key)
        found = value(key)
        return {} if found.nil?

        found.is_a?(Hash) ? found : invalid!(key, "is #{found.class}, not a mapping")
      end

      # @return [String, nil] a non-empty String; numbers are converted to text
      def text(key, found = value(key))
        return if found.nil?

        text = found.is_a?(Integer) ? found.to_s : found
        return text if text.is_a?(String) && !text.empty?

        invalid!(key, "is #{found.is_a?(String) ? 'empty' : found.class}; write a value, or remove the key")
      end

      # @return [String, nil] the secret that signs keys: `secret`, or the first of `secrets`
      def secret
        several = value("secrets")
        return text("secret") if several.nil?

        unless several.is_a?(Array) && several.all?(Hash) && several.any?
          invalid!("secrets", "is not a list like [{id: new, secret: …}, {id: old, secret: …}]")
        end
        text("secrets[0].secret", several.first["secret"]) || invalid!("secrets[0]", "has no secret")
      end

      # @return [String, nil] `public_url`, or `host` if it has a scheme: without one, it is the address that the server
      #   binds
      def public_url
        url = text("public_url")
        return address("host") if url.nil?

        address("public_url") || invalid!("public_url", "is #{url}; write it like https://push.example.com")
      end

      # @return [Boolean] whether `url` names a server to publish to
      def url?
        off = value("url")
        !(off.nil? || off == false || off == "off")
      end

      # @param default [String] used if `url` is not set
      # @return [String, nil]
      def url(default)
        return default.start_with?("//") ? "http:#{default}" : default if value("url").nil?
        return unless url?

        url = text("url").sub(%r{/+\z}, "")
        url.match?(%r{\Ahttps?://[^/]}) ? url : invalid!("url", "is not a URL; write http://localhost:8080")
      end

      def count(key, value, default)
        return default if value.nil?

        number = value.to_s.match?(/\A\d+\z/) ? value.to_s.to_i : 0
        number.positive? ? number : invalid!(key, "is #{value.inspect}; write a positive whole number")
      end

      def seconds(key, value, default)
        return default if value.nil?

        number, unit = value.to_s.match(DURATION)&.captures
        number ? number.to_f * UNITS[unit] : invalid!(key, "is #{value.inspect}; write it like 5s or 250ms")
      end

      # @return [Boolean] false if it is not set
      def flag(key)
        case value(key)
        when true, "true", "yes", "on" then true
        when nil, false, "false", "no", "off" then false
        else invalid!(key, "is #{value(key).inspect}; write true or false")
        end
      end

      private

      def address(key)
        url = value(key)
        invalid!(key, "is #{url.class}; write it like https://push.example.com") unless url.nil? || url.is_a?(String)
        url&.sub(%r{/+\z}, "") if url&.match?(%r{\A([A-Za-z][A-Za-z0-9+.-]*:)?//})
      end

      def invalid!(key, problem)
        @document.invalid!(key_path(key), problem)
      end

      def choose(sections, default)
        named = @document.interpolate(@document.top["namespace"], "namespace")
        return sections.first || default if named.nil?

        unless named.is_a?(String) || named.is_a?(Symbol)
          @document.invalid!("namespace", "is #{named.class}; write it like #{default}")
        end
        name = "/#{named.to_s.delete_prefix('/')}"
        return name if sections.empty? || sections.include?(name)

        @document.invalid!("namespace", "is #{name}, but the file contains only #{sections.join(', ')}")
      end
    end
  end
end
