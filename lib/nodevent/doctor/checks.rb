# frozen_string_literal: true

require "nodevent/doctor/admission"
require "nodevent/doctor/clocks"
require "nodevent/doctor/hints"
require "nodevent/http_request"
require "nodevent/doctor/reporting"
require "nodevent/doctor/server_check"
require "securerandom"

module NoDevent
  module Doctor
    # Runs the checks, in the order of the path of a message.
    class Checks
      include Reporting

      # @param config [Configuration] the namespace
      # @yield [Finding]
      def initialize(origin, config, &report)
        @config = config
        @origin = origin
        @report = report
        @room = "nodevent-doctor-#{SecureRandom.hex(8)}"
      end

      # @raise [ConfigurationError]
      def run
        @origin ||= own_origin
        ok("the configuration is #{@config.source || 'set in Ruby, or the default'}: namespace #{@config.namespace}, " \
           "server #{server}")
        ServerCheck.findings(@config.source).each(&@report) if @config.source
        walk
      rescue ConfigurationError => e
        failed("the configuration is invalid: #{e.message}",
               "fix it; `nodevent check FILE` lists all mistakes of a file")
      rescue HttpRequest::Failed => e
        failed("the server stopped responding: #{e.message}", "see its log")
      ensure
        @client&.close
      end

      private

      attr_reader :config

      def walk
        publishes? && server? && browsers? && namespace? && admitted? && round_trip
      end

      def publishes?
        recorded = defined?(Testing) && Publisher.current(config).is_a?(Testing::Recorder)
        return true unless recorded

        failed("publications are recorded and not published, because this process is in test mode",
               "run the doctor in another environment, or set `config.nodevent.test_mode = false`")
      end

      def namespace
        NoDevent.namespace(config.namespace)
      end

      # The address at which this process reaches the server.
      def server
        config.url || address
      end

      # The address at which browsers reach it.
      def address
        config.public_url.sub(%r{\A//}, "http://")
      end

      # A page on the server's own host, which can always connect.
      def own_origin
        address[%r{\A\w+://[^/]+}].sub(/:\d+\z/, "")
      end

      def server?
        response = health(server)
        return server_failed("cannot be reached: #{response}") if response.is_a?(String)
        return another_service(server, response) unless nodevent?(response)

        ok("the server responds at #{server}")
        @report.call(Clocks.compare(response["Date"]))
        true
      end

      # Browsers may use another address than this process.
      def browsers?
        # Pages use that of the application.
        return true if Server.active?

        warn_of_address
        return true if address == server

        response = health(address)
        if response.is_a?(String)
          return failed("the server cannot be reached at #{address}, the address for browsers: #{response}",
                        "correct `public_url:`, or the proxy that serves it")
        end
        return another_service(address, response) unless nodevent?(response)

        ok("the server responds at #{address}, the address for browsers")
      end

      def warn_of_address
        host = URI(address).host.to_s
        if Configuration::Document.environment == "production" && host.match?(/\A(localhost|127\.|\[::1\])/)
          warn("`public_url:` is #{address}, which other machines cannot reach",
               "set it to the server's public address")
        end
        return unless @origin.start_with?("https:") && address.start_with?("http:")

        warn("pages of #{@origin} cannot load scripts from #{address}: browsers block mixed content",
             "serve the server over TLS, and write https:// in `public_url:`")
      end

      def another_service(url, response)
        failed("another service than NoDevent responds at #{url} (#{response.code} for /healthz)",
               "correct `url:` or `public_url:`, or the proxy that serves it")
      end

      def nodevent?(response)
        response.is_a?(Net::HTTPSuccess) && response.body.to_s.strip == "ok"
      end

      # The response, or why there is none.
      def health(url)
        get("/healthz", url)
      rescue HttpRequest::Failed => e
        e.message
      end

      def server_failed(problem)
        failed("the server at #{server} #{problem}",
               "start it with `#{['nodevent', config.source].compact.join(' ')}`, or correct `url:` or `public_url:`")
      end

      def namespace?
        response = get("/api/#{config.namespace.delete_prefix('/').gsub('/', '%2F')}")
        return ok("the server has the namespace #{config.namespace}") if response.is_a?(Net::HTTPSuccess)

        failed("the server has no namespace #{config.namespace} (#{response.code})",
               "let both read the same file, or add `#{config.namespace}:` to the server's")
      end

      def admitted?
        @client = Admission.new(config, server, @origin, @room, @report).client
      end

      def round_trip
        text = SecureRandom.hex(8)
        result = namespace.emit(@room, "doctor", text, wait: true)
        return received(text) unless result == false

        failed("publishing through #{publisher} failed", "see the publisher's error in the log")
      rescue ConfigurationError
        raise
      rescue StandardError => e
        failure = e.message.lines.first.to_s.chomp # some Ruby versions append a code snippet
        failed("publishing through #{publisher} failed: #{failure}", Hints.publishing(failure))
      end

      def received(text)
        deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + PollingClient::TIMEOUT
        until @client.publication["message"] == text
          late = Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
          raise PollingClient::Refused, "only other publications arrived" if late
        end
        ok("a message published through #{publisher} arrived through the server")
      rescue PollingClient::Refused
        failed("a message was published through #{publisher}, but the server did not deliver it",
               "configure the same Redis (host, port, cluster) for the server's #{config.namespace}")
      end

      def publisher
        current = Publisher.current(config)
        current.respond_to?(:address) ? current.address : current.class.name
      end

      def get(path, base = server)
        HttpRequest.get("#{base}#{path}")
      end
    end
  end
end
