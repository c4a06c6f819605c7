# frozen_string_literal: true

require "nodevent/configuration/redacted"
require "nodevent/configuration/secret_section"

module NoDevent
  class Configuration
    # Reads what the gem needs of `pages` and `calls`: how the application says which page a connection belongs to, and
    # how the server signs its requests to the application. The other keys are the server's.
    module Pages
      # The secret that signs the cookie, the cookie's name, and whether channels are rooms of their own.
      Cookie = Struct.new(:sealed, :name, :channels) do
        def secret = sealed.reveal
        alias_method :channels?, :channels
      end
      # The secret that signs requests, and the whole path of handlers and hooks, if there is one.
      Calls = Struct.new(:sealed, :handlers) { def secret = sealed.reveal }
      COOKIE = "nodevent_page"
      # The protocol whose pages know channels. With others, a channel is the room of that name.
      PROTOCOL = "pakyow"
      # What a browser accepts as the name of a cookie.
      COOKIE_NAME = /\A[\w.-]{1,64}\z/
      PATH = %r{\A/[^\s?#]+\z}
      # The minimum length of a secret.
      #
      # # Units
      # Bytes.
      MIN_SECRET = 16

      private_constant :COOKIE, :PROTOCOL, :COOKIE_NAME, :PATH, :MIN_SECRET

      class << self
        # @param values [Values]
        # @param folder [String] where relative paths begin
        # @return [Cookie, nil] nil if `pages` is not configured
        # @raise [ConfigurationError]
        def cookie(values, folder)
          section = section(values, "pages") or return
          name = section.text("cookie") || COOKIE
          unless name.match?(COOKIE_NAME)
            section.invalid!(section.node("cookie"), "cookie", "is not the name of a cookie; write letters and digits")
          end
          Cookie.new(secret(section, folder), name, channels?(values)).freeze
        end

        # @param values [Values]
        # @param folder see {cookie}
        # @return [Calls, nil] nil if `calls` is not configured
        # @raise [ConfigurationError]
        def calls(values, folder)
          section = section(values, "calls") or return
          path = section.text("handlers")
          unless path.nil? || path.match?(PATH)
            section.invalid!(section.node("handlers"), "handlers", "is not a path; write it like /nodevent/realtime")
          end
          base = section.text("url").to_s[%r{\Ahttps?://[^/?#]+(/[^?#]*)}, 1].to_s.chomp("/")
          Calls.new(secret(section, folder), path && "#{base}#{path}").freeze
        end

        private

        def section(values, name)
          node = values.node(name)
          return if node.nil? || (node.value.nil? && node.line.nil?)

          SecretSection.new(values, values.mapping(name), name)
        end

        # The server reports a value that is wrong.
        def channels?(values)
          named = values.node("protocol")&.value
          named = [named] unless named.is_a?(Array)
          named.any? { |one| (one.is_a?(Tree::Node) ? one.value : one) == PROTOCOL }
        end

        def secret(section, folder)
          secret = Secrets.of_section(section, folder)
          node = section.node("secret") || section.node("secret_file")
          section.invalid!(node, "secret", "is missing; write a long random text") if secret.nil?
          return Redacted.new(secret) if secret.bytesize >= MIN_SECRET

          section.invalid!(node, "secret", "is shorter than #{MIN_SECRET} bytes; write a long random text")
        end
      end
    end
  end
end
