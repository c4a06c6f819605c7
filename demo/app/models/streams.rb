# frozen_string_literal: true

# The streams of the Turbo board, and what the gem turbo-rails does for an application that has it.
module Streams
  # The stream of the list of discussions. Each discussion has one of its own.
  DISCUSSIONS = "discussions"

  class << self
    # The name of the stream of a record, or of a text.
    def name(streamable)
      streamable.respond_to?(:to_gid_param) ? streamable.to_gid_param : streamable.to_param
    end

    # Every page with this stream loads itself again and morphs what differs.
    def refresh(streamable)
      html = ActionController::Base.helpers.tag.turbo_stream(action: "refresh", "request-id": Current.request_id)
      NoDevent::Cable.broadcast(name(streamable), html)
    end
  end
end
