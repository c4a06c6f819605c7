# frozen_string_literal: true

# What a visitor wrote: who it was, and how they are drawn.
module Authored
  extend ActiveSupport::Concern

  LONGEST_NAME = 30
  HUES = 12 # as many as board.css has colours for

  included do
    validates :author_name, presence: true, length: { maximum: LONGEST_NAME }
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
