# frozen_string_literal: true

require "ipaddr"
require "uri"

module NoDevent
  class Configuration
    # Parses the URL of a Redis as the server does. The vectors of `configuration.json` test both.
    module RedisUrl
      URL = %r{\A([A-Za-z][A-Za-z0-9+.-]*)://(?:([^/?\#]*)@)?(\[[^\]/?\#]*\]|[^:/?\#@\[\]]*)(?::(\d*))?(/[^?\#]*)?
               (?:\?([^\#]*))?(?:\#.*)?\z}x
      PLAIN = %w[redis valkey].freeze
      TLS = %w[rediss valkeys].freeze
      # Redis's and Sentinel's.
      PORT = 6379
      SENTINEL_PORT = 26_379
      # The largest database that a URL or `db:` may select.
      MAX_DATABASE = 255

      HINT = "write redis://host:6379/0, rediss://… for TLS, redis-sentinel://… or redis-cluster://…"

      SENTINEL_PARAMETERS = { "sentinelServiceName" => :service, "sentinelUsername" => :sentinel_username,
                              "sentinelPassword" => :sentinel_password }.freeze

      # The name of a primary that Sentinel accepts.
      SERVICE = /\A[A-Za-z0-9._-]+\z/
      HOST = /\A[[:alnum:]._-]+\z/

      private_constant :HOST, :URL, :PLAIN, :TLS, :HINT, :SENTINEL_PARAMETERS

      # The text is not the URL of a Redis. The message does not contain it, because it may have a password.
      class Invalid < StandardError
        def initialize(problem = nil)
          super("is not a Redis URL#{": #{problem}" if problem}; #{HINT}")
        end
      end

      class << self
        # @param text [String]
        # @return [Hash] `hosts`, `kind`, `service`, `tls`, `username`, `password`, `db`, `sentinel_username`,
        #   `sentinel_password`
        # @raise [Invalid]
        def parse(text)
          match = text.match(URL) or raise Invalid
          scheme, userinfo, host, port, path, query = match.captures
          kind, tls = scheme(scheme.downcase)
          redis = { kind: kind, tls: tls, db: database(path) }.merge(credentials(userinfo.to_s))
          redis[:hosts] = [[host(host), port(port, kind)]]
          read_parameters(redis, query.to_s)
          raise Invalid, "it has no sentinelServiceName" if kind == :sentinel && !redis[:service].to_s.match?(SERVICE)

          redis
        end

        # @param text [String] `host`, `host:port`, `::1` or `[::1]:port`
        # @return [Array(String, Integer), nil]
        def node(text, default_port)
          host, port = text.match(/\A(\[[^\]]*\]|[^:]*):([^\]:]*)\z/)&.captures
          port = port ? port_number(port) : default_port
          host = host_name(host || text)
          [host, port] if port && host
        end

        # @param text [String] the name of a host, or its address, with or without brackets
        # @return [String, nil] it without brackets; nil if it has other parts, such as a port
        def host_name(text)
          host = text.delete_prefix("[").delete_suffix("]")
          host if host.match?(HOST) || ipv6?(host)
        end

        # @return [Integer, nil] a port written in decimal digits without a leading zero
        def port_number(text)
          text.to_i if text.match?(/\A[1-9]\d{0,4}\z/) && text.to_i <= 65_535
        end

        # @return [Integer, nil]
        def database_number(text)
          text.to_i if text.match?(/\A(0|[1-9]\d{0,2})\z/) && text.to_i <= MAX_DATABASE
        end

        private

        def ipv6?(text)
          IPAddr.new(text.split("%").first.to_s).ipv6?
        rescue IPAddr::Error
          false
        end

        def scheme(scheme)
          plain, kind = scheme.match(/\A(.*?)(?:-(sentinel|cluster))?\z/).captures
          kind = (kind || "single").to_sym
          return [kind, false] if PLAIN.include?(plain)
          return [kind, true] if TLS.include?(plain)

          raise Invalid
        end

        def credentials(userinfo)
          user, password = userinfo.split(":", 2)
          { username: decode(user.to_s), password: decode(password.to_s) }.reject { |_, text| text.empty? }
        end

        def host(host)
          host = host.delete_prefix("[").delete_suffix("]")
          host.empty? || host.match?(/\s/) ? raise(Invalid) : host
        end

        def port(port, kind)
          return kind == :sentinel ? SENTINEL_PORT : PORT if port.to_s.empty?

          port.to_i <= 65_535 ? port.to_i : raise(Invalid)
        end

        def database(path)
          path = path.to_s.gsub(%r{\A/+|/+\z}, "")
          return if path.empty?

          database_number(path) || raise(Invalid, "its database is not a number up to #{MAX_DATABASE}")
        end

        def read_parameters(redis, query)
          # After a `?` in a password, its rest looks like a parameter.
          shown = !query.include?("@")
          URI.decode_www_form(query).each { |name, value| read_parameter(redis, name, value, shown) }
        rescue ArgumentError
          raise Invalid
        end

        def read_parameter(redis, name, value, shown)
          if name == "node" && redis[:kind] != :single
            default = redis[:kind] == :sentinel ? SENTINEL_PORT : PORT
            return redis[:hosts] << (node(value, default) || raise(Invalid, "a `node` is not host:port"))
          end
          key = SENTINEL_PARAMETERS[name] if redis[:kind] == :sentinel
          unless key
            raise Invalid, "its parameter `#{Tree.shown_key(name)}` is not supported" if shown

            raise Invalid, "it has a `?` before an `@`; write the `?` of a password as %3F"
          end

          redis[key] = value
        end

        def decode(text)
          decoded = text.gsub(/%\h\h/) { |escape| escape[1, 2].hex.chr }.force_encoding(Encoding::UTF_8)
          decoded.valid_encoding? ? decoded : raise(Invalid)
        end
      end
    end
  end
end
