# frozen_string_literal: true

# The streams of the Turbo board: what the gem turbo-rails does for an application that has it.
module Streams
  # The namespace in config/nodevent.yml that speaks Action Cable, which is also its path.
  NAMESPACE = "/cable"
  # The stream of the list of discussions. Each discussion has one of its own.
  DISCUSSIONS = "discussions"

  class << self
    # The name of the stream of a record, or of a text.
    def name(streamable)
      streamable.respond_to?(:to_gid_param) ? streamable.to_gid_param : streamable.to_param
    end

    # A client that has the signed name may subscribe. The server verifies it with the same secret.
    def signed_name(streamable)
      verifier.generate(name(streamable))
    end

    # Every page with this stream loads itself again and morphs what differs.
    def refresh(streamable)
      html = ActionController::Base.helpers.tag.turbo_stream(action: "refresh", "request-id": Current.request_id)
      NoDevent.namespace(NAMESPACE).emit(name(streamable), "broadcast", html)
    end

    # Where pages connect.
    def url
      NoDevent::Emitter.config["public_url"].sub(/\Ahttp/, "ws") + NAMESPACE
    end

    private

    def verifier
      key = Rails.application.key_generator.generate_key("turbo/signed_stream_verifier_key")
      ActiveSupport::MessageVerifier.new(key, digest: "SHA256", serializer: JSON)
    end
  end
end
