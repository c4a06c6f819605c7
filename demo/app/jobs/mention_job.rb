# frozen_string_literal: true

# Puts a mention into the mailbox of each visitor whom a comment mentions. `notify` waits for Redis or the server, so it runs
# in a job; with a key it can be repeated, also after the comment was edited: no visitor gets the same mention twice.
class MentionJob < ActiveJob::Base
  retry_on NoDevent::PublishError, wait: 5.seconds, attempts: 120
  discard_on ActiveJob::DeserializationError # the comment was deleted

  def perform(comment)
    NoDevent::Emitter.notify(comment.mentioned, "mention", comment.mention, key: "comment-#{comment.id}")
  end
end
