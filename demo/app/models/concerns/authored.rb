# frozen_string_literal: true

# The author of a post, and how pages show them.
module Authored
  extend ActiveSupport::Concern

  MAX_NAME_LENGTH = 30
  HUES = 12 # the number of colours in board.css

  included do
    validates :author_name, presence: true, length: { maximum: MAX_NAME_LENGTH }
    validates :author_id, presence: true
  end

  def author=(visitor)
    self.author_name = visitor.name
    self.author_id = visitor.id
  end

  def author
    { id: author_id, name: author_name, initials: initials, hue: author_name.to_s.sum % HUES }
  end

  def by?(visitor)
    author_id == visitor.id
  end

  private

  def initials
    author_name.to_s.split.values_at(0, 1).compact.map { |word| word[0] }.join.upcase
  end
end
