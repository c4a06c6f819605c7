# frozen_string_literal: true

# Promise 1: a connection receives only the events of rooms that it joined. Tested in a page, with the page's own
# NoDevent. N-36, N-39, N-42, N-51.
RSpec.describe "Room keys on the board" do
  include_context "with a board on the memory engine"

  # The server's reply to a join of `room`; `key` is a JavaScript expression.
  def join(person, room, key)
    person.evaluate_async_script(<<~JS, room)
      const [name, done] = arguments;
      const room = NoDevent.room(name);
      window.received ??= [];
      for (const event of ["comment_create", "update", "presence"]) room.on(event, () => window.received.push(name + " " + event));
      const key = #{key};
      if (key) room.setKey(key);
      room.join((refusal) => done(refusal ?? "joined"));
    JS
  end

  # The comment in the page's own room proves that an earlier one in another room would have arrived.
  def expect_no_events_of(other, own)
    board.run(<<~RUBY)
      [#{other}, #{own}].each { |id| Discussion.find(id).comments.create!(author: Visitor.new(id: "x", name: "Eve"), body: "said in \#{id}") }
    RUBY
    expect(omar).to have_css("#comments .prose", text: "said in #{own}")
    expect(omar.evaluate_script("window.received")).to eq([])
  end

  before { open_page(omar, "#{board.url}/discussions/4") }

  it "admit with the room's key (N-107)" do
    expect(join(omar, "Discussion_4", "NoDevent.room('Discussion_4').getKey()")).to eq("joined")
  end

  it "are required, and a page without one receives no events (N-36, N-107)" do
    expect(join(omar, "Discussion_5", "null")).to eq("Must provide key")
    expect_no_events_of(5, 4)
  end

  it "are refused in another room, and the page receives none of its events (N-39, N-107)" do
    expect(join(omar, "Discussion_3", "NoDevent.room('Discussion_4').getKey()")).to eq("Bad key")
    expect_no_events_of(3, 4)
  end

  it "are refused if digits are moved from the room to the time (N-42)" do
    # The key of Discussion_4 is signed over "Discussion_4" + time. Cut off the 4, put it before the time.
    key = "NoDevent.room('Discussion_4').getKey().replace(':', ':4')"
    expect(join(omar, "Discussion_", key)).to eq("Bad time")
  end

  it "are refused after they expire, and the page requests a new one" do
    omar.execute_script("NoDevent.room('Discussion_4').setKey('0'.repeat(64) + ':1700000000000')")
    eventually("the page has a key that is admitted") do
      omar.evaluate_script("NoDevent.room('Discussion_4').getKey()") !~ /1700000000000/
    end
    expect(join(omar, "Discussion_4", "null")).to eq("joined")
  end

  it "do not expose the secret in the script or the log (N-51)" do
    secret = board.env.fetch("NODEVENT_SECRET")
    expect(board.server.get("/api/board").body).not_to include(secret)
    expect(board.server.output).not_to include(secret)
  end
end
