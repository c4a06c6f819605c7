# frozen_string_literal: true

# Promise 1: a connection hears only rooms it was admitted to. Seen from inside a page, with the page's own
# NoDevent. N-36, N-39, N-42, N-51.
RSpec.describe "The rooms of the board" do
  before(:context) { @board = E2E::Board.new }
  after(:context) { @board.stop }
  let(:board) { @board }

  # What the server says to a join of `room`, `key` being a JavaScript expression.
  def join(person, room, key)
    person.evaluate_async_script(<<~JS, room)
      const [name, done] = arguments;
      const room = NoDevent.room(name);
      window.overheard ??= [];
      for (const event of ["comment_create", "update", "presence"]) room.on(event, () => window.overheard.push(name + " " + event));
      const key = #{key};
      if (key) room.setKey(key);
      room.join((refusal) => done(refusal ?? "joined"));
    JS
  end

  # The comment in the page's own room is the proof that an earlier one elsewhere would have arrived.
  def expect_to_overhear_nothing_of(other, own)
    board.run(<<~RUBY)
      [#{other}, #{own}].each { |id| Discussion.find(id).comments.create!(author: Visitor.new("x", "Eve"), body: "said in \#{id}") }
    RUBY
    expect(omar).to have_css("#comments .prose", text: "said in #{own}")
    expect(omar.evaluate_script("window.overheard")).to eq([])
  end

  before { open_page(omar, "#{board.url}/discussions/4") }

  it "admit with the key of that room (N-107)" do
    expect(join(omar, "Discussion_4", "NoDevent.room('Discussion_4').getKey()")).to eq("joined")
  end

  it "refuse without a key, and nothing of them is heard (N-36, N-107)" do
    expect(join(omar, "Discussion_5", "null")).to eq("Must provide key")
    expect_to_overhear_nothing_of(5, 4)
  end

  it "refuse with the key of another room, and nothing of them is heard (N-39, N-107)" do
    expect(join(omar, "Discussion_3", "NoDevent.room('Discussion_4').getKey()")).to eq("Bad key")
    expect_to_overhear_nothing_of(3, 4)
  end

  it "refuse a key whose room was cut short into its time (N-42)" do
    # The key of Discussion_4 is signed over "Discussion_4" + time. Cut off the 4, put it before the time.
    key = "NoDevent.room('Discussion_4').getKey().replace(':', ':4')"
    expect(join(omar, "Discussion_", key)).to eq("Bad time")
  end

  it "refuse a key whose time is over, and the page gets itself a new one" do
    omar.execute_script("NoDevent.room('Discussion_4').setKey('0'.repeat(64) + ':1700000000000')")
    eventually("the page has a key that is admitted") do
      omar.evaluate_script("NoDevent.room('Discussion_4').getKey()") !~ /1700000000000/
    end
    expect(join(omar, "Discussion_4", "null")).to eq("joined")
  end

  it "stand beside a script that does not name the secret, nor does the log (N-51)" do
    secret = board.env.fetch("NODEVENT_SECRET")
    expect(board.server.get("/api/board").body).not_to include(secret)
    expect(board.server.output).not_to include(secret)
  end
end
