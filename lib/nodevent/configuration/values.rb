# frozen_string_literal: true

module NoDevent
  class Configuration
    # Finds the settings of one namespace in a document, below its own key or flat at the top, and checks them.
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
        document.refuse(@namespace, "is #{own.class}, not a mapping") unless own.nil? || own.is_a?(Hash)
        @own = own || {}
      end

      # The setting as it was written, with `${…}` replaced.
      def value(key)
        @document.fill(@own.key?(key) ? @own[key] : @document.top[key], place(key))
      end

      # Where the setting stands.
      def place(key)
        @own.key?(key[/\A\w+/]) ? "#{namespace}.#{key}" : key
      end

      def mapping(key)
        found = value(key)
        return {} if found.nil?

        found.is_a?(Hash) ? found : refuse(key, "is #{found.class}, not a mapping")
      end

      # A String that is not empty, or nil. Numbers are taken as their text.
      def text(key, found = value(key))
        return if found.nil?

        text = found.is_a?(Integer) ? found.to_s : found
        return text if text.is_a?(String) && !text.empty?

        refuse(key, "is #{found.is_a?(String) ? 'empty' : found.class}; write a text, or leave it out")
      end

      # What signs: `secret`, or the first of `secrets`.
      def secret
        several = value("secrets")
        return text("secret") if several.nil?

        unless several.is_a?(Array) && several.all?(Hash) && several.any?
          refuse("secrets", "is not a list like [{id: new, secret: …}, {id: old, secret: …}]")
        end
        text("secrets[0].secret", several.first["secret"]) || refuse("secrets[0]", "has no secret")
      end

      # The address that browsers use; `host` without a scheme is the server's and says nothing here.
      def host
        host = value("host")
        return if host.nil?

        refuse("host", "is #{host.class}; write it like https://push.example.com") unless host.is_a?(String)
        host.sub(%r{/+\z}, "") if host.match?(%r{\A([A-Za-z][A-Za-z0-9+.-]*:)?//})
      end

      # Whether `url` names a place to publish.
      def url?
        off = value("url")
        !(off.nil? || off == false || off == "off")
      end

      # @param host [String] taken where there is no `url`
      # @return [String, nil]
      def url(host)
        return host.start_with?("//") ? "http:#{host}" : host if value("url").nil?
        return unless url?

        url = text("url").sub(%r{/+\z}, "")
        url.match?(%r{\Ahttps?://[^/]}) ? url : refuse("url", "is no address; write http://localhost:8080")
      end

      def count(place, found, default)
        return default if found.nil?

        number = found.to_s.match?(/\A\d+\z/) ? found.to_s.to_i : 0
        number.positive? ? number : refuse(place, "is #{found.inspect}; write a number from 1 up")
      end

      def seconds(place, found, default)
        return default if found.nil?

        number, unit = found.to_s.match(DURATION)&.captures
        number ? number.to_f * UNITS[unit] : refuse(place, "is #{found.inspect}; write it like 5s or 250ms")
      end

      private

      def refuse(key, problem)
        @document.refuse(place(key), problem)
      end

      def choose(sections, default)
        named = @document.fill(@document.top["namespace"], "namespace")
        return sections.first || default if named.nil?

        unless named.is_a?(String) || named.is_a?(Symbol)
          @document.refuse("namespace", "is #{named.class}; write it like #{default}")
        end
        name = "/#{named.to_s.delete_prefix('/')}"
        return name if sections.empty? || sections.include?(name)

        @document.refuse("namespace", "is #{name}, but the file has #{sections.join(', ')}; they must agree")
      end
    end
  end
end
