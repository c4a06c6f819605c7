# frozen_string_literal: true

# `turbo_stream_from`, as turbo-rails has it, with the position of the stream and an id of the page. The server sends what was
# published since then, also after a reconnect, so that nothing is missing.
module TurboStreamsHelper
  def turbo_stream_from(streamable, data: {}, **attributes)
    room = nodevent_data(Streams.name(streamable), namespace: Streams::NAMESPACE)
    _, since = room.find { |name, _| name.end_with?("position") }
    data = data.merge({ "nodevent-since": since, "nodevent-page": SecureRandom.hex(16) }.compact)
    source = { channel: "Turbo::StreamsChannel", "signed-stream-name": Streams.signed_name(streamable), data: data }
    tag.turbo_cable_stream_source(**source, **attributes)
  end
end
