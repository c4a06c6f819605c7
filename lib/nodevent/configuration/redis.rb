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
        def section(value, document, place)
          case value
          when nil, false then nil
          when Hash then value.transform_keys { |key| ALIASES.fetch(key, key) }
          when String then { "url" => value }
          else document.refuse(place, "is #{value.class}; write a URL, or host: and port:")
          end
        end

        # @param refuse [#call] takes the key below `redis` and the problem
        # @return [Hash] `url` and what must not stand in it
        def target(section, refuse)
          check(section, refuse)
          sentinel = section["sentinel"].is_a?(Hash) ? section["sentinel"] : {}
          { url: url(section, refuse), username: text(section["username"]), password: text(section["password"]),
            sentinel_username: text(sentinel["username"]), sentinel_password: text(sentinel["password"]) }
        end

        private

        def check(section, refuse)
          url = section["url"]
          return if url.nil?

          scheme = url.to_s[%r{\A([a-z-]+)://.}, 1]
          return if SCHEMES.include?(scheme)

          refuse.call("url", "has no scheme of #{SCHEMES.join(', ')}; write redis://localhost:6379/0")
        end

        def url(section, refuse)
          return section["url"] if section["url"]

          scheme = truthy?(section["tls"]) ? "rediss" : "redis"
          return sentinel(scheme, section, refuse) if section["sentinel"]
          return cluster(scheme, section["cluster"], refuse) if section["cluster"]

          "#{scheme}://#{host(section['host'] || 'localhost')}:#{port(section, refuse)}#{database(section, refuse)}"
        end

        def sentinel(scheme, section, refuse)
          found = section["sentinel"].is_a?(Hash) ? section["sentinel"] : {}
          name = found["name"] || found["service"] || "mymaster"
          first, *others = nodes(found["hosts"], 26_379, "sentinel.hosts", refuse)
          query = others.map { |node| "node=#{node}" } << "sentinelServiceName=#{CGI.escape(name.to_s)}"
          "#{scheme}-sentinel://#{first}#{database(section, refuse)}?#{query.join('&')}"
        end

        def cluster(scheme, found, refuse)
          first, *others = nodes(found, 6379, "cluster", refuse)
          query = others.map { |node| "node=#{node}" }.join("&")
          "#{scheme}-cluster://#{first}#{"?#{query}" unless query.empty?}"
        end

        def nodes(found, default_port, key, refuse)
          list = found.is_a?(String) ? [found] : Array(found)
          refuse.call(key, "lists no node; write [one:#{default_port}, other:#{default_port}]") if list.empty?
          list.map { |node| node.to_s.match?(/:\d+\z/) ? node.to_s : "#{node}:#{default_port}" }
        end

        def host(name)
          name.to_s.include?(":") && !name.to_s.start_with?("[") ? "[#{name}]" : name
        end

        def port(section, refuse)
          port = section["port"] || 6379
          return port if port.to_s.match?(/\A\d+\z/) && port.to_i.between?(1, 65_535)

          refuse.call("port", "is #{port.inspect}; write a number from 1 to 65535")
        end

        def database(section, refuse)
          database = section["db"] || 0
          return "/#{database}" if database.to_s.match?(/\A\d+\z/)

          refuse.call("db", "is #{database.inspect}; write a number")
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
