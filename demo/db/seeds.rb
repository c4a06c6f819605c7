# frozen_string_literal: true

# The first content of the board. Seeding again changes nothing.
return if Discussion.exists?

PEOPLE = {
  ada: "Ada Mensah", ben: "Ben Okafor", cho: "Cho Min-jun", dara: "Dara Quinn", elif: "Elif Aydın", femi: "Femi Balogun"
}.transform_values { |name| Visitor.create!(name: name) }.freeze

# [author, minutes ago, title, text, [[author, minutes ago, reply], …]]
BOARD = [
  [:elif, 4_300, "What did you repair instead of replacing this year?",
   "My kettle has a new thermostat (two euros, twenty minutes) and I am unreasonably proud of it. Show off your own.",
   [[:ben, 4_100, "A 1987 sewing machine. It only wanted oil and an evening."],
    [:dara, 3_900, "The hinge of my laptop. Printed in brass at the makerspace, stronger than the original."],
    [:femi, 1_480, "A friendship, but I suppose that does not count."]]],
  [:femi, 2_900, "Recommend a short book for a long train ride",
   "Lisbon to Hendaye, eleven hours, window seat. Under two hundred pages, please, and nothing about trains.",
   [[:ada, 2_850, "Claire Keegan, Foster. You will finish it twice."],
    [:dara, 2_790, "Anything by Muriel Spark. A hundred and twenty pages, all of them sharp."],
    [:cho, 2_700, "Tove Jansson, The Summer Book. It makes eleven hours feel like an afternoon."]]],
  [:ben, 1_500, "Trail maintenance on Saturday: who is in?",
   "The storm took two trees down past the old mill. I have three saws and the permit. We start at nine at the car park " \
   "and there is soup at one.",
   [[:cho, 1_320, "In. I can bring four pairs of gloves."],
    [:elif, 1_200, "In from ten, with a wheelbarrow."],
    [:dara, 1_190, "Put me down for soup."],
    [:ben, 1_150, "That makes seven of us. One more and we get the bridge done too."]]],
  [:cho, 420, "How do you explain eventual consistency to your family?",
   "My uncle asked why the seat he had just booked was shown as free on his other phone. I said something about clocks " \
   "and he has been calling me a horologist ever since.",
   [[:dara, 400, "A village with one gossip: everybody hears it, just not at the same moment."],
    [:ada, 333, "I say the kitchen calendar and the one on my phone are both right, but only on Sundays."],
    [:elif, 290, "Two clocks in one house. Ask them which one is right."],
    [:ben, 120, "I would have said: the airline hopes."],
    [:femi, 61, "Your uncle is owed a seat and an apology."]]],
  [:ada, 95, "The library on Harbour Street stays open until ten from Monday",
   "It passed, nine votes to two. Evening staff start next week, and the reading room on the second floor gets its lamps back. " \
   "Thank you to everyone who wrote to the council.",
   [[:dara, 80, "Nine to two! I had us losing by one."],
    [:elif, 47, "The lamps are the best part. I learned to read under those."],
    [:cho, 31, "Is the little kitchen open in the evening too? Asking for a thermos."],
    [:ada, 24, "It is. Kettle included."],
    [:ben, 12, "I shall be there on Monday at 21:55 on principle."]]],
  [:dara, 38, "Which sound means home to you?",
   "For me the second stair from the top. You could never come in late unheard, and now nobody lives there to hear it.",
   [[:cho, 26, "A pressure cooker two floors down."],
    [:ada, 9, "The ferry horn at six in the morning, which I hated for eighteen years."],
    [:elif, 3, "My mother saying ‘it is open’ before I have knocked."]]]
].freeze

def seed_discussion(author, ago, title, text, replies)
  started = ago.minutes.ago
  discussion = Discussion.create!(author: PEOPLE.fetch(author), title: title, body: text, created_at: started, updated_at: started)
  replies.each do |(by, since, reply)|
    at = since.minutes.ago
    discussion.comments.create!(author: PEOPLE.fetch(by), body: reply, created_at: at, updated_at: at)
  end
  discussion.update_columns(updated_at: replies.last[1].minutes.ago) # its replies touched it
end

# Seeding emits no events.
NoDevent.silence { BOARD.each { |entry| seed_discussion(*entry) } }
