# frozen_string_literal: true

# A comment has no room of its own: its events go to its discussion's room. The discussion then emits its new count and
# time, because the counter cache and `touch` skip its callbacks.
class Comment < ApplicationRecord
  include Authored
  include Refreshes

  belongs_to :discussion, counter_cache: true, touch: true

  validates :body, presence: true, length: { maximum: 2_000 }

  after_commit -> { announce("comment_create", self) }, on: :create
  after_commit -> { announce("comment_update", self) }, on: :update
  after_commit -> { announce("comment_destroy", id: id) }, on: :destroy
  after_commit -> { MentionJob.perform_later(self) if body.include?("@") }, on: %i[create update]

  def as_json(_options = nil)
    {
      id: id, discussion_id: discussion_id, body: body, author: author, edited: edited?,
      created_at: created_at, updated_at: updated_at
    }.as_json
  end

  def edited?
    persisted? && updated_at > created_at
  end

  # The visitors whom the text mentions, except its author.
  def mentioned
    Mentions.in(body).reject { |visitor| by?(visitor) }
  end

  # What they find in their mailboxes.
  def mention
    { by: author, comment: id, discussion: { id: discussion_id, title: discussion.title }, body: body.truncate(200) }
  end

  # The pages of the Turbo board that show it.
  def refreshed_streams
    [discussion, Streams::DISCUSSIONS]
  end

  private

  def announce(event, message)
    discussion.emit(event, message)
    discussion.announce_update
  end
end
