# frozen_string_literal: true

# A discussion has a room of its own (`Discussion_12`): everything that happens in it is told there.
# That there is a new one is told in the room of the class (`Discussion`).
class Discussion < ApplicationRecord
  include NoDevent::Base
  include Authored

  has_many :comments, -> { order(:id) }, inverse_of: :discussion, dependent: :delete_all
  has_many :visits, dependent: :delete_all
  has_many :current_visits, -> { current }, class_name: "Visit", inverse_of: :discussion

  validates :title, presence: true, length: { maximum: 120 }
  validates :body, presence: true, length: { maximum: 4_000 }

  # After the commit, never before: another page would ask for what is not there yet.
  after_commit :nodevent_create, on: :create
  after_commit :tell_update, on: :update
  after_commit -> { emit("destroy", id: id) }, on: :destroy

  scope :latest, -> { includes(:current_visits).order(updated_at: :desc, id: :desc).limit(60) }

  # Tells what the database holds now: since this record was loaded, others may have commented.
  def tell_update
    self.class.find_by(id: id)&.nodevent_update
  end

  # Every page that may read a discussion is handed the key to its room.
  def as_json(_options = nil)
    {
      id: id, title: title, body: body, author: author, comments_count: comments_count, here: here,
      created_at: created_at, updated_at: updated_at, nodevent: room_json
    }.as_json
  end

  # How many pages are open on it.
  def here
    current_visits.size
  end

  def visited(tab)
    telling_presence { visits.find_or_initialize_by(tab: tab).update!(seen_at: Time.current) }
  end

  def left(tab)
    telling_presence { visits.where(tab: tab).delete_all }
  end

  private

  def telling_presence
    before = visits.count
    yield
    visits.stale.delete_all
    emit("presence", id: id, here: here) unless visits.count == before
  end
end
