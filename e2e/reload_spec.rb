# frozen_string_literal: true

# The server restarts while pages are open. N-54, N-55, N-64; promise 3.
RSpec.shared_examples "a page that outlives its server" do
  before do
    open_page(ines, "#{board.url}/discussions/5")
    open_page(omar, "#{board.url}/discussions/5")
    board.server.stop
    [ines, omar].each { |person| expect(person).to have_css("#signal[data-state=lost]", text: "Reconnecting") }
  end

  it "rejoins its room and receives later events (N-55, N-64, N-107)" do
    board.server.start
    [ines, omar].each { |person| expect(person).to have_css("#signal[data-state=live]", text: "Live") }
    say(ines, "After the storm.")
    expect(omar).to have_css("#comments .comment:last-child .prose", text: "After the storm.")
    expect_no_reload(omar)
  end

  it "shows what was written in the meantime, once and in order, and writing was not delayed" do
    written = Array.new(3) { |n| "Into the void, #{n}." }
    written.each { |text| say(ines, text) }
    board.server.start
    expect(omar).to have_css("#comments .comment:last-child .prose", text: written.last)
    expect(texts(omar, "#comments .prose").last(3)).to eq(written)
    expect_no_reload(omar)
  end
end

RSpec.describe "A page whose server is restarted, on the memory engine" do
  include_context "with a board on the memory engine"
  include_examples "a page that outlives its server"
end

RSpec.describe "A page whose server is restarted, on Redis" do
  include_context "with a board on Redis"
  include_examples "a page that outlives its server"

  it "gets missed events from the server, without a request to the application" do
    asked = "performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('.json')).length"
    before = omar.evaluate_script(asked)
    omar.execute_script("window.states = []; NoDevent.room('Discussion_5').on('join', (refusal, state) => states.push(state))")
    say(ines, "Kept by Redis.")
    board.server.start
    expect(omar).to have_css("#comments .comment:last-child .prose", text: "Kept by Redis.")
    expect(omar.evaluate_script("states.at(-1).recovered")).to be(true)
    expect(omar.evaluate_script(asked)).to eq(before)
  end
end
