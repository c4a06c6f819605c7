# frozen_string_literal: true

# How pages show a person: the name, and initials on a colour.
module Portrait
  HUES = 12 # the number of colours in board.css

  def self.of(name)
    name = name.to_s
    initials = name.split.values_at(0, 1).compact.map { |word| word[0] }.join.upcase
    { name: name, initials: initials, hue: name.sum % HUES }
  end
end
