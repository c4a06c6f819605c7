# frozen_string_literal: true

# The author of a post. A post keeps the name under which it was written.
module Authored
  extend ActiveSupport::Concern

  included do
    validates :author_name, presence: true, length: { maximum: Visitor::MAX_NAME_LENGTH }
    validates :author_id, presence: true
  end

  def author=(visitor)
    self.author_name = visitor.name
    self.author_id = visitor.id
  end

  def author
    { id: author_id, **Portrait.of(author_name) }
  end

  def by?(visitor)
    author_id == visitor.id
  end
end
