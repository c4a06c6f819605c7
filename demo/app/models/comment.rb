# frozen_string_literal: true

# A comment has no room: what happens to it is told in its discussion's. Then the discussion tells its
# new count and time; counting and touching are done past its own callbacks.
class Comment < ApplicationRecord
  include Authored

  belongs_to :discussion, counter_cache: true, touch: true

  validates :body, presence: true, length: { maximum: 2_000 }

  after_commit -> { tell("comment_create", self) }, on: :create
  after_commit -> { tell("comment_update", self) }, on: :update
  after_commit -> { tell("comment_destroy", id: id) }, on: :destroy

  def as_json(_options = nil)
    {
      id: id, discussion_id: discussion_id, body: body, author: author, edited: edited?,
      created_at: created_at, updated_at: updated_at
    }.as_json
  end

  def edited?
    persisted? && updated_at > created_at
  end

  private

  def tell(event, message)
    discussion.emit(event, message)
    discussion.tell_update
  end
end
