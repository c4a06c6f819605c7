# frozen_string_literal: true

module NoDevent
  module Doctor
    # Says whether pages reach the server through the application, if it is mounted there, and tries it.
    module HandoverCheck
      class << self
        # @return [Array<Finding>]
        def findings
          return [] if Server.at.nil?

          place = Server.at.empty? ? "as a middleware" : "at #{Server.at}"
          path = Handover.path or return [two_addresses(place)]

          [tried(place, path)]
        end

        private

        def tried(place, path)
          status = Server.new.send(:exchange, request, "/healthz").first
          if status == 200
            return finding(:ok, "pages use the application's own address: the server is mounted #{place}, and takes " \
                                "connections over through #{path}")
          end
          finding(:fail, "the server is mounted #{place}, but responds with #{status} through #{path}", "see its log")
        rescue Handover::Unavailable, Handover::Rejected => e
          finding(:fail, "the server is mounted #{place}, but cannot be reached: #{e.message}",
                  "start it as the user of the application, with `handover_socket` or by `plugin :nodevent`")
        end

        def request
          # With a session, because the application is not asked who this is.
          { "REQUEST_METHOD" => "GET", "HTTP_HOST" => "localhost", "QUERY_STRING" => "sid=" }
        end

        def two_addresses(place)
          finding(:warn, "the server is mounted #{place}, but pages use its own address: no Unix socket is known",
                  "write `handover_socket: tmp/sockets/nodevent.sock`, or start the server by `plugin :nodevent`")
        end

        def finding(level, message, hint = nil)
          Finding.new(level: level, message: message, hint: hint)
        end
      end
    end
  end
end
