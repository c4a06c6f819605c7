# frozen_string_literal: true

# Visitors are records, so that a text can mention them. Who is present is known to the NoDevent server.
class CreateVisitors < ActiveRecord::Migration[6.1]
  def change
    create_table :visitors, id: :string do |t|
      t.string :name, null: false
      t.string :handle, null: false
      t.integer :session_version, null: false, default: 0
      t.timestamps
      t.index :handle, unique: true
    end

    drop_table :visits do |t|
      t.references :discussion, null: false, foreign_key: { on_delete: :cascade }
      t.string :tab, null: false
      t.datetime :seen_at, null: false
      t.index %i[discussion_id tab], unique: true
    end
  end
end
