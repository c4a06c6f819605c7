# frozen_string_literal: true

# The person behind a session. There are no accounts: a visitor is given a name and may change it. The id
# is public (pages compare it with an author's); what may be edited is decided here, from the session.
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
    self.class.new(id, name.to_s.squish.first(Authored::LONGEST_NAME).presence || self.name)
  end
end
