# frozen_string_literal: true

# The pages of the Turbo board.
module TurboBoardHelper
  NEW = 4.seconds # for which a page marks a change

  # The stream of a page. It stays the same element when the page is morphed.
  def page_stream(streamable)
    nodevent_cable_stream_from(streamable, id: "stream_#{Streams.name(streamable)}", data: { turbo_permanent: true })
  end

  def import_map_tag
    tag.script(json_escape(Packages.import_map.to_json).html_safe, type: "importmap", nonce: content_security_policy_nonce)
  end

  # The class that animates what was created or changed just now.
  def mark(record)
    if record.created_at > NEW.ago
      "arrived"
    elsif record.updated_at > NEW.ago
      "changed"
    end
  end
end
