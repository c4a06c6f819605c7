# frozen_string_literal: true

# One page that shows a discussion. Pages report every 15 seconds and when they are closed; without a report for
# LIFETIME, a page counts as closed.
class Visit < ApplicationRecord
  LIFETIME = 40.seconds # two reports may be lost

  belongs_to :discussion

  validates :tab, presence: true, length: { maximum: 40 }

  scope :current, -> { where(seen_at: LIFETIME.ago..) }
  scope :stale, -> { where(seen_at: ...LIFETIME.ago) }
end
