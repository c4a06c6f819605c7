# frozen_string_literal: true

require "net/http"
require "nodevent/doctor/clocks"
require "nodevent/doctor/remedies"
require "securerandom"

module NoDevent
  module Doctor
    # Looks at one thing after another, as far as each lets the next be seen.
    class Examination
      # @yield [Finding]
      def initialize(origin, &found)
        @origin = origin
        @found = found
        @room = "nodevent-doctor-#{SecureRandom.hex(8)}"
      end

      # @raise [ConfigurationError]
      def run
        @config = Emitter.config
        @origin ||= own_origin
        good("the configuration is #{@config.source || "Ruby's, or the defaults"}: namespace #{@config.namespace}, " \
             "server #{server}")
        walk
      rescue Visitor::Refused => e
        bad("the server stopped answering: #{e.message}", "see its log")
      ensure
        @visitor&.close
      end

      private

      attr_reader :config

      def walk
        server? && namespace? && origin? && secrets && comes_back
      end

      # Where this process reaches the server.
      def server
        config.url || address
      end

      # Where browsers reach it.
      def address
        config.host.sub(%r{\A//}, "http://")
      end

      # A page on the server's own host, which may always connect.
      def own_origin
        address[%r{\A\w+://[^/]+}].sub(/:\d+\z/, "")
      end

      def server?
        response = get("/healthz")
        return bad_server("answers #{response.code} to /healthz") unless response.is_a?(Net::HTTPSuccess)

        good("the server answers at #{server}")
        @found.call(Clocks.compare(response["Date"]))
        true
      rescue SystemCallError, SocketError, IOError, Timeout::Error, OpenSSL::SSL::SSLError => e
        bad_server("cannot be reached: #{e.message}")
      end

      def bad_server(problem)
        bad("the server at #{server} #{problem}",
            "start it with `#{['nodevent', config.source].compact.join(' ')}`, or correct `url:` (or `host:`)")
      end

      def namespace?
        response = get("/api/#{config.namespace.delete_prefix('/').gsub('/', '%2F')}")
        return good("the server has the namespace #{config.namespace}") if response.is_a?(Net::HTTPSuccess)

        bad("the server has no namespace #{config.namespace} (#{response.code})",
            "let both read one file, or add `#{config.namespace}:` to the server's")
      end

      def origin?
        @visitor = Visitor.new(server, config.namespace, origin: @origin)
        good("pages of #{@origin} may connect")
      rescue Visitor::Refused => e
        bad("pages of #{@origin} may not connect (#{e.message})",
            "add it to the server's `origins:`, or give the right one: rake nodevent:doctor ORIGIN=https://…")
      end

      # Without a key first: that tells whether the server asks for one. The secret itself never leaves this process.
      def secrets
        open, = @visitor.join(@room)
        return no_secret_here(open) unless config.secret
        return no_secret_there if open.nil?

        refusal, = @visitor.join(@room, Emitter.room_key(@room, Time.now + 600))
        return good("the secrets agree") if refusal.nil?

        bad("the server refuses this application's keys: #{refusal}", Remedies.key(refusal))
      end

      def no_secret_here(refusal)
        if refusal.nil?
          return doubtful("#{config.namespace} has no secret: anybody may join any room",
                          "write a long random `secret:`, as `openssl rand -hex 32` makes them")
        end

        bad("the server wants keys (#{refusal}), and there is no secret here to sign them with",
            "let both read one file, or write the server's `secret:` here")
      end

      def no_secret_there
        bad("#{config.namespace} has a secret here, but the server lets anybody in without a key",
            "let both read one file, or write the `secret:` into the server's too")
      end

      def comes_back
        text = SecureRandom.hex(8)
        answer = Emitter.emit(@room, "doctor", text, wait: true)
        return heard(text) unless answer == false

        bad("publishing through #{publisher} failed", "see what the publisher says in the log")
      rescue ConfigurationError
        raise
      rescue StandardError => e
        failure = e.message.lines.first.to_s.chomp # some Rubies add the line of code
        bad("publishing through #{publisher} failed: #{failure}", Remedies.publishing(failure))
      end

      def heard(text)
        found = @visitor.emission until found && found["message"] == text
        good("a message published through #{publisher} came back through the server")
      rescue Visitor::Refused
        bad("a message was published through #{publisher}, and the server did not deliver it",
            "let the server's #{config.namespace} use the same Redis: the same host, port and cluster")
      end

      def publisher
        current = Emitter.publisher
        current.respond_to?(:address) ? current.address : current.class.name
      end

      def get(path)
        uri = URI("#{server}#{path}")
        Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == "https", open_timeout: Visitor::PATIENCE,
                                            read_timeout: Visitor::PATIENCE) { |http| http.get(uri.request_uri) }
      end

      def good(sentence)
        @found.call(Finding.new(level: :good, sentence: sentence))
        true
      end

      def doubtful(sentence, remedy)
        @found.call(Finding.new(level: :doubtful, sentence: sentence, remedy: remedy))
        true
      end

      def bad(sentence, remedy)
        @found.call(Finding.new(level: :bad, sentence: sentence, remedy: remedy))
        false
      end
    end
  end
end
