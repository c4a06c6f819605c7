# frozen_string_literal: true

class CreateBoard < ActiveRecord::Migration[6.1]
  def change
    create_table :discussions do |t|
      t.string :title, null: false
      t.text :body, null: false
      t.string :author_name, null: false
      t.string :author_id, null: false
      t.integer :comments_count, null: false, default: 0
      t.timestamps
    end

    create_table :comments do |t|
      t.references :discussion, null: false, foreign_key: { on_delete: :cascade }
      t.text :body, null: false
      t.string :author_name, null: false
      t.string :author_id, null: false
      t.timestamps
    end

    create_table :visits do |t|
      t.references :discussion, null: false, foreign_key: { on_delete: :cascade }
      t.string :tab, null: false
      t.datetime :seen_at, null: false
      t.index %i[discussion_id tab], unique: true
    end
  end
end
