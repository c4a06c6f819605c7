# frozen_string_literal: true

require "nodevent/configuration/secret_file"

module NoDevent
  class Configuration
    # Reads `ssl` of the `redis` section: whether the connection uses TLS, and with which certificates. A part of
    # {Redis}.
    module RedisCertificates
      CERTIFICATES = %w[ca cert key].freeze

      private_constant :CERTIFICATES

      private

      # The Ruby client uses `ssl: true` for TLS.
      def read_certificates
        ssl = @section["ssl"]
        return if ssl.nil?
        return read_ssl_flag unless ssl.is_a?(Hash)

        check_certificate_keys(ssl)
        ca, cert, key = CERTIFICATES.map { |name| file("ssl", name, ssl[name]) if ssl.key?(name) }
        invalid!("ssl", "has only one of cert and key; write both") if cert.nil? != key.nil?
        @redis.merge!(tls: true, ca: ca, client: cert && [cert, key])
      end

      # Keys of other clients, such as `verify`. Ignoring them would change what secures the connection.
      def check_certificate_keys(ssl)
        key = (ssl.keys - CERTIFICATES).first or return
        problem = "is not supported; write `ca`, `cert` and `key`; certificates are always verified"
        invalid!("ssl.#{Tree.shown_key(key)}", problem)
      end

      def read_ssl_flag
        tls = flag("ssl") { invalid!("ssl", "has no keys; write `ssl: {ca: ca.pem}`") }
        @redis[:tls] = tls unless tls.nil?
      end

      def file(section, key, name)
        path = File.expand_path(name.to_s, @folder)
        return path if !name.to_s.empty? && File.file?(path) && File.readable?(path)

        shown = SecretFile.shown_path(path, name.to_s)
        invalid!("#{section}.#{key}", "names #{shown}, which cannot be read; name a readable file")
      end
    end
  end
end
