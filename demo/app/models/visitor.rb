# frozen_string_literal: true

# A person who uses the board. There are no accounts or passwords: each new visitor gets a name and can change it. The id
# is public: pages compare it with the author's, and it is the user of the visitor's tokens and mailbox.
class Visitor < ApplicationRecord
  ADJECTIVES = %w[Amber Brisk Calm Clever Early Fair Gentle Keen Lucky Merry Quiet Sunny Swift Wise].freeze
  ANIMALS = %w[Badger Finch Heron Ibex Kestrel Linnet Lynx Marten Otter Plover Raven Stoat Tern Wren].freeze
  MAX_NAME_LENGTH = 30

  before_validation { self.id ||= SecureRandom.hex(6) }
  before_validation { self.handle = name.to_s.downcase }

  validates :name, presence: true, length: { maximum: MAX_NAME_LENGTH }, format: { without: /@/, message: "cannot contain @" }
  validate { errors.add(:name, :taken) if Visitor.where(handle: handle).where.not(id: id).exists? }

  # Who has left the board, the last one first.
  scope :lately_here, -> { where.not(last_seen_at: nil).order(last_seen_at: :desc, id: :asc).limit(5) }

  class << self
    # The hook `left`. An event that is older than what is known changes nothing.
    def left(id, time)
      where(id: id).where("last_seen_at IS NULL OR last_seen_at < ?", time).update_all(last_seen_at: time)
    end

    def anonymous!
      name = "#{ADJECTIVES.sample} #{ANIMALS.sample}"
      name = "#{name} #{SecureRandom.random_number(1_000)}" if exists?(handle: name.downcase)
      create!(name: name)
    end

    # The visitor of a session, unless the visitor has signed out since.
    def of_session(id, version)
      find_by(id: id, session_version: version)
    end
  end

  def name=(name)
    super(name.to_s.squish)
  end

  # What a session stores of a visitor who is signed in.
  def session_key
    [id, session_version]
  end

  # Ends all sessions, in all browsers.
  def sign_out!
    increment!(:session_version)
  end

  # Says to the NoDevent server who the page belongs to.
  def token
    NoDevent::Token.issue(self, info: portrait)
  end

  # How pages show this visitor. Tokens carry it as `info`, so others see it in the presence of a room.
  def portrait
    Portrait.of(name)
  end
end
