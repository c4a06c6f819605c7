# frozen_string_literal: true

require "cgi/escape"

module NoDevent
  class Configuration
    # Reads the `redis` section and builds the URL for the native publisher.
    module Redis
      # Aliases of keys.
      ALIASES = {
        "user" => "username", "auth_pass" => "password", "database" => "db", "ssl" => "tls"
      }.freeze
      SCHEMES = %w[redis rediss redis-sentinel rediss-sentinel redis-cluster rediss-cluster].freeze

      WRONG_URL = "must start with one of #{SCHEMES.join(', ')}; write redis://localhost:6379/0".freeze

      private_constant :ALIASES, :SCHEMES, :WRONG_URL

      class << self
        # @param values [Values]
        # @return [Hash{String => Object}, nil] the section; a URL alone is `{"url" => it}`
        # @raise [ConfigurationError]
        def section(values)
          node = values.node("redis")
          case node&.value
          when nil then nil
          when Hash then Tree.unwrap(node).transform_keys { |key| ALIASES.fetch(key, key) }
          when String
            return if Values::NO.include?(node.value.downcase)

            scheme?(node.value) ? { "url" => node.value } : values.invalid!(node, "redis", WRONG_URL)
          else values.invalid!(node, "redis", "is a list; write a URL, or host: and port:")
          end
        end

        # @param invalid [#call] receives the key below `redis` and the problem
        # @return [Hash] `url`, and the credentials, which are not part of it
        def target(section, invalid)
          check(section, invalid)
          sentinel = section["sentinel"].is_a?(Hash) ? section["sentinel"] : {}
          { url: url(section, invalid), username: text(section["username"]), password: text(section["password"]),
            sentinel_username: text(sentinel["username"]), sentinel_password: text(sentinel["password"]) }
        end

        private

        def check(section, invalid)
          url = section["url"]
          return if url.nil?

          invalid.call("url", WRONG_URL) unless scheme?(url)
        end

        def scheme?(url)
          SCHEMES.include?(url.to_s[%r{\A([a-z-]+)://.}, 1])
        end

        def url(section, invalid)
          return section["url"] if section["url"]

          scheme = truthy?(section["tls"]) ? "rediss" : "redis"
          return sentinel(scheme, section, invalid) if section["sentinel"]
          return cluster(scheme, section["cluster"], invalid) if section["cluster"]

          "#{scheme}://#{host(section['host'] || 'localhost')}:#{port(section, invalid)}#{database(section, invalid)}"
        end

        def sentinel(scheme, section, invalid)
          settings = section["sentinel"].is_a?(Hash) ? section["sentinel"] : {}
          name = settings["name"] || settings["service"] || "mymaster"
          first, *others = nodes(settings["hosts"], 26_379, "sentinel.hosts", invalid)
          query = others.map { |node| "node=#{node}" } << "sentinelServiceName=#{CGI.escape(name.to_s)}"
          "#{scheme}-sentinel://#{first}#{database(section, invalid)}?#{query.join('&')}"
        end

        def cluster(scheme, settings, invalid)
          first, *others = nodes(settings, 6379, "cluster", invalid)
          query = others.map { |node| "node=#{node}" }.join("&")
          "#{scheme}-cluster://#{first}#{"?#{query}" unless query.empty?}"
        end

        def nodes(settings, default_port, key, invalid)
          list = settings.is_a?(String) ? [settings] : Array(settings)
          invalid.call(key, "lists no nodes; write [one:#{default_port}, other:#{default_port}]") if list.empty?
          list.map { |node| node.to_s.match?(/:\d+\z/) ? node.to_s : "#{node}:#{default_port}" }
        end

        def host(name)
          name.to_s.include?(":") && !name.to_s.start_with?("[") ? "[#{name}]" : name
        end

        def port(section, invalid)
          port = section["port"] || 6379
          return port if port.to_s.match?(/\A\d+\z/) && port.to_i.between?(1, 65_535)

          invalid.call("port", "is #{port.inspect}; write a number from 1 to 65535")
        end

        def database(section, invalid)
          database = section["db"] || 0
          return "/#{database}" if database.to_s.match?(/\A\d+\z/)

          invalid.call("db", "is #{database.inspect}; write a number")
        end

        def text(value)
          value&.to_s
        end

        def truthy?(value)
          !(value.nil? || value.empty? || Values::NO.include?(value))
        end
      end
    end
  end
end
