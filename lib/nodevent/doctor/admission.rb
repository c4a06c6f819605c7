# frozen_string_literal: true

require "nodevent/doctor/credentials"
require "nodevent/doctor/polling_client"
require "nodevent/doctor/reporting"

module NoDevent
  module Doctor
    # Checks whether the server admits pages of an origin, and the tokens and keys of this application. No secret leaves
    # this process.
    class Admission
      include Reporting

      # The server's reason for refusing a client without a token.
      TOKEN_REQUIRED = "Must provide token"

      private_constant :TOKEN_REQUIRED

      # @param config [Configuration] the namespace
      # @param server [String] its address
      # @param origin [String] of a page
      # @param room [String] a room that nothing else uses
      # @param report [#call] receives each {Finding}
      def initialize(config, server, origin, room, report)
        @config = config
        @server = server
        @origin = origin
        @credentials = Credentials.new(config, room)
        @room = room
        @report = report
      end

      # @return [PollingClient, nil] a client in the room. nil: a check failed, and was reported
      # @raise [HttpRequest::Failed] if the server stops responding
      def client
        return @client if origin? && tokens && secrets

        @client&.close
        nil
      end

      private

      attr_reader :config, :server

      def origin?
        @client = connect
        ok("pages of #{@origin} can connect")
      rescue PollingClient::NotAdmitted => e
        return origin_failed(e) unless e.message == TOKEN_REQUIRED

        @token_required = true
        ok("pages of #{@origin} can connect, with a token")
      rescue PollingClient::Refused => e
        origin_failed(e)
      end

      def origin_failed(error)
        failed("pages of #{@origin} cannot connect (#{error.message})",
               "add it to the server's `origins:`, or pass the right origin: rake nodevent:doctor ORIGIN=https://…")
      end

      def connect(token = nil)
        PollingClient.new(server, config.namespace, origin: @origin, token: token)
      end

      # Sends a forged token first, to find out whether the server verifies tokens.
      def tokens
        return no_token_secret unless @credentials.tokens?

        refusal = refusal_of(@credentials.forged_token)
        return no_tokens_there unless refusal

        @client&.close
        @client = connect(@credentials.token)
        ok("the server accepts this application's tokens")
      rescue PollingClient::NotAdmitted => e
        failed("the server rejects this application's tokens: #{e.message}", Hints.token(e.message))
      end

      # The server's reason for refusing a token. nil: it accepts the token.
      def refusal_of(token)
        connect(token).close
        nil
      rescue PollingClient::NotAdmitted => e
        e.message
      end

      def no_token_secret
        return true unless @token_required

        failed("the server does not admit clients without a token, and this application has no secret to sign tokens",
               "let both read the same file, or set the server's `token: secret:` here")
      end

      def no_tokens_there
        failed("this application signs tokens, but the server at #{server} admits clients with any token",
               "let both read the same file, or add `token:` to the server's #{config.namespace}")
      end

      # Joins without a key first, to find out whether the server requires one.
      def secrets
        open, = @client.join(@room)
        return no_secret_here(open) unless @credentials.keys?
        return no_secret_there if open.nil?

        wrong, = @client.join(@room, @credentials.forged_key)
        return another_program if wrong.nil?

        refusal, = @client.join(@room, @credentials.key)
        return ok("the secrets match") if refusal.nil?

        failed("the server rejects this application's keys: #{refusal}", Hints.key(refusal))
      end

      # Publishing would send it the publish key.
      def another_program
        failed("the program at #{server} admits clients with any key, so it does not know the secret",
               "find out which program listens there; it is not the server of this configuration")
      end

      def no_secret_here(refusal)
        if refusal.nil?
          return warn("#{config.namespace} has no secret: any client can join any room",
                      "set `secret:` to a long random value, for example from `openssl rand -hex 32`")
        end

        failed("the server requires keys (#{refusal}), but this application has no secret to sign them",
               "let both read the same file, or set the server's `secret:` here")
      end

      def no_secret_there
        failed("#{config.namespace} has a secret here, but the server admits clients without a key",
               "let both read the same file, or set `secret:` in the server's")
      end
    end
  end
end
