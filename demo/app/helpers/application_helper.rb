# frozen_string_literal: true

# Elements that board.js updates after a change: `data-text`, `data-time` and similar attributes name the record's
# attribute to show.
module ApplicationHelper
  def avatar(author)
    tag.span(author[:initials], class: "avatar", "aria-hidden": true, data: { hue: author[:hue], avatar: "author" })
  end

  # The avatar of the page's visitor, which changes with the visitor's name.
  def my_avatar
    tag.span(visitor.portrait[:initials], class: "avatar", "aria-hidden": true, data: { hue: visitor.portrait[:hue], avatar: "me" })
  end

  def moment(name, time)
    time ||= Time.current
    words = time > 1.minute.ago ? "just now" : "#{time_ago_in_words(time)} ago"
    tag.time(words, datetime: time.iso8601, data: { time: name })
  end

  def page_data(data)
    tag.script(json_escape(data.to_json).html_safe, type: "application/json", id: "page")
  end

  # An unsaved record to draw a <template> from.
  def blank(record)
    record.tap { |r| r.author = Visitor.new(id: "", name: "") }
  end

  # Whether mentions survive a restart of the NoDevent server.
  def durable_mentions?
    NoDevent::Emitter.config["redis"].present?
  end
end
