# frozen_string_literal: true

# The user of a session. There are no accounts: each visitor gets a name and can change it. The id is public (pages
# compare it with the author's); Rails decides from the session what a visitor can edit.
class Visitor
  ADJECTIVES = %w[Amber Brisk Calm Clever Early Fair Gentle Keen Lucky Merry Quiet Sunny Swift Wise].freeze
  ANIMALS = %w[Badger Finch Heron Ibex Kestrel Linnet Lynx Marten Otter Plover Raven Stoat Tern Wren].freeze

  attr_reader :id, :name

  def self.anonymous
    new(SecureRandom.hex(6), "#{ADJECTIVES.sample} #{ANIMALS.sample}")
  end

  def initialize(id, name)
    @id = id
    @name = name
  end

  # A blank name changes nothing.
  def renamed(name)
    self.class.new(id, name.to_s.squish.first(Authored::MAX_NAME_LENGTH).presence || self.name)
  end
end
