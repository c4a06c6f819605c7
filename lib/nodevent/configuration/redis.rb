# frozen_string_literal: true

require "nodevent/configuration/redis_certificates"
require "nodevent/configuration/redis_url"
require "nodevent/configuration/secret_file"

module NoDevent
  class Configuration
    # Reads the `redis` section. It means the same as for the server: what one of them rejects, the other rejects too.
    # The vectors of `configuration.json` test both.
    class Redis
      include RedisCertificates

      # Aliases of keys.
      ALIASES = { "user" => "username", "auth_pass" => "password", "database" => "db" }.freeze
      TEXTS = %w[host port db username password password_file prefix].freeze
      KNOWN = (TEXTS + %w[url tls ssl sentinel cluster]).freeze
      # The old server passed `options` to its client, and ignored `subscribe`.
      IGNORED = %w[options subscribe].freeze
      # Keys of other Redis clients that neither program can honour. Ignoring them would change what they secure or
      # which Redis is used.
      UNSUPPORTED = {
        "path" => "Redis is not reached over a Unix socket; write `host` and `port`",
        "ssl_params" => "write `ssl: {ca: …, cert: …, key: …}`",
        "ssl_ca" => "write `ssl: {ca: …}`",
        "ca_file" => "write `ssl: {ca: …}`",
        "verify" => "certificates are always verified; write `ssl: {ca: …}` for a private CA",
        "verify_mode" => "certificates are always verified; write `ssl: {ca: …}` for a private CA"
      }.freeze
      PREFIX = /\A[A-Za-z0-9_.-]{1,64}\z/

      private_constant :ALIASES, :TEXTS, :KNOWN, :IGNORED, :UNSUPPORTED, :PREFIX

      class << self
        # @param values [Values]
        # @return [Hash{String => Object}, nil] the section; a URL alone is `{"url" => it}`
        # @raise [ConfigurationError]
        def section(values)
          node = values.node("redis")
          case node&.value
          when nil
            # A key without a value is a mistake in a file; in Ruby, `nil` is as good as no key.
            values.invalid!(node, "redis", "is empty; write a URL, or delete the key") if node&.line
          when Hash then Tree.unwrap(node).transform_keys { |key| ALIASES.fetch(key, key) }
          when String then text_section(values, node)
          else values.invalid!(node, "redis", "is a list; write a URL, or host: and port:")
          end
        end

        # @param section [Hash]
        # @param folder [String] where relative paths begin
        # @param invalid [#call] receives the key below `redis` and the problem, and raises
        # @return [Hash] hosts, credentials and certificates, for the native publisher
        def target(section, folder, invalid)
          new(section, folder, invalid).target
        end

        # @return [Array<String>] keys that nothing reads
        def unknown(section)
          section.keys - KNOWN - IGNORED - UNSUPPORTED.keys
        end

        private

        def text_section(values, node)
          return if Values::NO.include?(node.value.downcase)

          values.invalid!(node, "redis", "is empty; write a URL, or delete the key") if node.value.strip.empty?
          { "url" => node.value, "alone" => true }
        end
      end

      # @api private
      def initialize(section, folder, invalid)
        @alone = section["alone"]
        @section = section.except("alone")
        @folder = folder
        @invalid = invalid
      end

      # @api private
      def target
        check_keys
        @redis = { hosts: [["localhost", RedisUrl::PORT]], kind: :single, tls: false }
        @redis.merge!(parse_url) if @section.key?("url")
        read_parts
        read_password
        read_certificates
        read_sentinel
        read_cluster
        shape
      end

      private

      def check_keys
        UNSUPPORTED.each { |key, hint| invalid!(key, "is not supported; #{hint}") if @section.key?(key) }
        (TEXTS & @section.keys).each do |key|
          value = @section[key]
          invalid!(key, "is empty; write a value, or delete the key") if value.nil? || value.to_s.strip.empty?
          invalid!(key, "is not text; write one value") if value.is_a?(Hash) || value.is_a?(Array)
        end
      end

      def parse_url
        RedisUrl.parse(@section["url"].to_s)
      rescue RedisUrl::Invalid => e
        invalid!(@alone ? nil : "url", e.message)
      end

      def read_parts
        host, port = @redis[:hosts].first
        @redis[:hosts][0] = [given_host || host, port_of(@section["port"]) || port]
        @redis[:db] = database || @redis[:db]
        @redis[:username] = @section["username"] || @redis[:username]
        @redis[:prefix] = prefix
        tls = flag("tls")
        @redis[:tls] = tls unless tls.nil?
      end

      def given_host
        text = @section["host"] or return
        RedisUrl.host_name(text) ||
          invalid!("host", "is not a host; write a name or an address; the port belongs into `port`, and a URL into " \
                           "`url`")
      end

      def read_password
        password = @section["password"]
        check_credential("password", password) if password
        file = @section["password_file"]
        password = SecretFile.read(file, @folder) if file
        @redis[:password] = password || @redis[:password]
      rescue ArgumentError => e
        invalid!("password_file", "is not usable: #{e.message}; name a file that contains the secret")
      end

      def check_credential(key, text)
        return unless text.match?(/\A\$[A-Za-z_]\w*\z/)

        invalid!(key, "is a variable without braces; write ${NAME}")
      end

      def read_sentinel
        sentinel = @section["sentinel"]
        return if sentinel.nil?

        unless sentinel.is_a?(Hash)
          invalid!("sentinel", "is not a mapping; write `sentinel: {hosts: [sentinel1:26379]}`")
        end
        nodes = nodes(sentinel["hosts"], RedisUrl::SENTINEL_PORT, "sentinel.hosts")
        if nodes.empty? && @redis[:kind] != :sentinel
          invalid!("sentinel", "has no hosts; write `hosts: [sentinel1:26379]`")
        end
        @redis.merge!(sentinel_username: sentinel["username"], sentinel_password: sentinel["password"])
        service = service(sentinel)
        @redis.merge!(hosts: nodes, kind: :sentinel, service: service) unless nodes.empty?
      end

      def service(sentinel)
        name = sentinel["name"] || sentinel["service"] || "mymaster"
        return name if name.to_s.match?(RedisUrl::SERVICE)

        invalid!("sentinel.name", "is not the name of a primary; write letters, digits, `.`, `-` or `_`")
      end

      def read_cluster
        if @section.key?("cluster")
          nodes = nodes(@section["cluster"], RedisUrl::PORT, "cluster")
          invalid!("cluster", "is empty; write [one:6379, other:6379], or delete the key") if nodes.empty?
          if @redis[:kind] == :sentinel
            invalid!(nil, "has a cluster and sentinels; delete one of them: the nodes of a cluster fail over by " \
                          "themselves")
          end
          @redis.merge!(hosts: nodes, kind: :cluster)
        end
        return unless @redis[:kind] == :cluster && @redis[:db].to_i != 0

        invalid!(nil, "has a db and a cluster; delete db: a cluster has only database 0")
      end

      def nodes(list, default_port, key)
        # Without the entry: it may be a URL with a password.
        Array(list.is_a?(String) ? [list] : list).each_with_index.map do |text, index|
          RedisUrl.node(text.to_s, default_port) ||
            invalid!(key, "has an entry, number #{index + 1}, that is not host:port; write host:port")
        end
      end

      def port_of(text)
        return if text.nil?

        RedisUrl.port_number(text) || invalid!("port", "is not a valid number; write a number from 1 to 65535")
      end

      def database
        text = @section["db"] or return
        RedisUrl.database_number(text) || invalid!("db", "is not a valid number; write a number from 0 to 255")
      end

      def prefix
        text = @section["prefix"] or return
        return text if text.match?(PREFIX)

        invalid!("prefix", "is not a prefix; write 1 to 64 letters, digits, `_`, `-` or `.`")
      end

      # @return [Boolean, nil]
      def flag(key)
        text = @section[key]
        return if text.nil?
        return true if Values::YES.include?(text.to_s.downcase)
        return false if Values::NO.include?(text.to_s.downcase)

        yield if block_given?
        invalid!(key, "is neither true nor false; write true or false")
      end

      # In the shape of `ext/nodevent/src/target.rs`.
      def shape
        kind = @redis[:kind] == :sentinel ? { sentinel: @redis[:service] } : @redis[:kind]
        @redis.slice(:hosts, :username, :password, :prefix, :tls, :ca, :client, :sentinel_username, :sentinel_password)
              .merge(kind: kind, db: @redis[:db] || 0)
      end

      def invalid!(key, problem)
        @invalid.call(key, problem)
      end
    end
  end
end
