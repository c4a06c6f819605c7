# frozen_string_literal: true

# The visitors whom a text mentions: `@` and a name, whatever its case. "@Amber Badger" is Amber Badger, not Amber.
module Mentions
  LIMIT = 10 # of one text

  class << self
    def in(text)
      names = text.downcase.scan(/(?<![[:alnum:]])@(?=(.{1,#{Visitor::MAX_NAME_LENGTH + 1}}))/).flatten.first(LIMIT).map { |rest| beginnings(rest) }
      visitors = Visitor.where(handle: names.flatten.uniq).index_by(&:handle)
      names.filter_map { |handles| visitors.values_at(*handles).compact.last }.uniq
    end

    private

    # What could be the name at the beginning of a text: it ends where a word ends.
    def beginnings(text)
      (1..text.length).reject { |length| text[length]&.match?(/[[:alnum:]]/) }.map { |length| text[0, length] }
    end
  end
end
