# frozen_string_literal: true

# When a visitor has left the board: a hook of the NoDevent server says it.
class AddLastSeenToVisitors < ActiveRecord::Migration[6.1]
  def change
    add_column :visitors, :last_seen_at, :datetime
    add_index :visitors, :last_seen_at
  end
end
