# frozen_string_literal: true

# The rooms with presence. All visitors who have a page of the board open are in one room, and those who read a
# discussion in another. They are not the rooms of the events: the list of discussions is in those of all discussions.
module Readers
  BOARD = "Readers_board"

  class << self
    def of(discussion)
      "Readers_#{discussion.id}"
    end

    # A room and its key, as `room_json` of a model.
    def room_json(room)
      { room: room, key: NoDevent::Emitter.room_key(room, 1.hour.from_now) }
    end
  end
end
