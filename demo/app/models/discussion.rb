# frozen_string_literal: true

# A discussion has a room (`Discussion_12`) that receives all its events. The room of the class (`Discussion`) receives
# new discussions.
class Discussion < ApplicationRecord
  include NoDevent::Base
  include Authored
  include Refreshes

  has_many :comments, -> { order(:id) }, inverse_of: :discussion, dependent: :delete_all

  validates :title, presence: true, length: { maximum: 120 }
  validates :body, presence: true, length: { maximum: 4_000 }

  # After the commit: before, other pages could not load the record yet.
  after_commit :nodevent_create, on: :create
  after_commit :announce_update, on: :update
  after_commit -> { emit("destroy", id: id) }, on: :destroy

  scope :latest, -> { order(updated_at: :desc, id: :desc).limit(60) }

  # Emits the state in the database, because comments may have been added since this record was loaded.
  def announce_update
    self.class.find_by(id: id)&.nodevent_update
  end

  # The pages of the Turbo board that show it.
  def refreshed_streams
    [self, Streams::DISCUSSIONS]
  end

  # Every page that can read a discussion gets the key of its room. Messages contain the room without the key: a page
  # gets the keys of new discussions when it loads its state again.
  def as_json(_options = nil)
    {
      id: id, title: title, body: body, author: author, comments_count: comments_count, created_at: created_at,
      updated_at: updated_at, nodevent: room_json
    }.as_json
  end
end
