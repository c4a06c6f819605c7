# frozen_string_literal: true

# A visitor has closed the last page of the board. The event may arrive twice, and after a newer one of another server.
NoDevent.on(:left) do |event|
  Visitor.left(event.user, event.at) if event.room == Readers::BOARD
end
