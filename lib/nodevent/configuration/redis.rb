# frozen_string_literal: true

require "cgi/escape"

module NoDevent
  class Configuration
    # The `redis` section, as URL for the native publisher.
    module Redis
      # Other names of keys.
      ALIASES = {
        "user" => "username", "auth_pass" => "password", "database" => "db", "ssl" => "tls"
      }.freeze
      SCHEMES = %w[redis rediss redis-sentinel rediss-sentinel redis-cluster rediss-cluster].freeze

      private_constant :ALIASES, :SCHEMES

      class << self
        # @return [Hash{String => Object}, nil] the section; a URL alone is `{"url" => it}`
        def section(value, document)
          case value
          when nil, false then nil
          when Hash then value.transform_keys { |key| ALIASES.fetch(key, key) }
          when String then { "url" => value }
          else document.refuse("redis", "is #{value.class}; write a URL, or host: and port:")
          end
        end

        # @return [Hash] `url` and what must not stand in it
        def target(section, document)
          check(section, document)
          sentinel = section["sentinel"].is_a?(Hash) ? section["sentinel"] : {}
          { url: url(section, document), username: text(section["username"]), password: text(section["password"]),
            sentinel_username: text(sentinel["username"]), sentinel_password: text(sentinel["password"]) }
        end

        private

        def check(section, document)
          url = section["url"]
          return if url.nil?

          scheme = url.to_s[%r{\A([a-z-]+)://.}, 1]
          return if SCHEMES.include?(scheme)

          document.refuse("redis.url", "has no scheme of #{SCHEMES.join(', ')}; write redis://localhost:6379/0")
        end

        def url(section, document)
          return section["url"] if section["url"]

          scheme = truthy?(section["tls"]) ? "rediss" : "redis"
          return sentinel(scheme, section, document) if section["sentinel"]
          return cluster(scheme, section["cluster"], document) if section["cluster"]

          "#{scheme}://#{host(section['host'] || 'localhost')}:#{port(section, document)}#{database(section, document)}"
        end

        def sentinel(scheme, section, document)
          found = section["sentinel"].is_a?(Hash) ? section["sentinel"] : {}
          name = found["name"] || found["service"] || "mymaster"
          first, *others = nodes(found["hosts"], 26_379, "redis.sentinel.hosts", document)
          query = others.map { |node| "node=#{node}" } << "sentinelServiceName=#{CGI.escape(name.to_s)}"
          "#{scheme}-sentinel://#{first}#{database(section, document)}?#{query.join('&')}"
        end

        def cluster(scheme, found, document)
          first, *others = nodes(found, 6379, "redis.cluster", document)
          query = others.map { |node| "node=#{node}" }.join("&")
          "#{scheme}-cluster://#{first}#{"?#{query}" unless query.empty?}"
        end

        def nodes(found, default_port, place, document)
          list = found.is_a?(String) ? [found] : Array(found)
          document.refuse(place, "lists no node; write [one:#{default_port}, other:#{default_port}]") if list.empty?
          list.map { |node| node.to_s.match?(/:\d+\z/) ? node.to_s : "#{node}:#{default_port}" }
        end

        def host(name)
          name.to_s.include?(":") && !name.to_s.start_with?("[") ? "[#{name}]" : name
        end

        def port(section, document)
          port = section["port"] || 6379
          return port if port.to_s.match?(/\A\d+\z/) && port.to_i.between?(1, 65_535)

          document.refuse("redis.port", "is #{port.inspect}; write a number from 1 to 65535")
        end

        def database(section, document)
          database = section["db"] || 0
          return "/#{database}" if database.to_s.match?(/\A\d+\z/)

          document.refuse("redis.db", "is #{database.inspect}; write a number")
        end

        def text(value)
          value&.to_s
        end

        def truthy?(value)
          ![nil, false, "false", "off", "no", ""].include?(value)
        end
      end
    end
  end
end
