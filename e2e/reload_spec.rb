# frozen_string_literal: true

# The server goes away under open pages and comes back. N-54, N-55, N-64.
RSpec.describe "A page whose server is restarted" do
  before(:context) { @board = E2E::Board.new }
  after(:context) { @board.stop }
  let(:board) { @board }

  before do
    open_page(ines, "#{board.url}/discussions/5")
    open_page(omar, "#{board.url}/discussions/5")
    board.server.stop
    [ines, omar].each { |person| expect(person).to have_css("#signal[data-state=lost]", text: "Reconnecting") }
  end

  def say(person, text)
    person.fill_in("comment[body]", with: text, currently_with: "")
    person.click_button("Reply")
    expect(person).to have_css("#comments .prose", text: text)
  end

  it "is in its room again, and hears what comes then (N-55, N-64, N-107)" do
    board.server.start
    [ines, omar].each { |person| expect(person).to have_css("#signal[data-state=live]", text: "Live") }
    say(ines, "After the storm.")
    expect(omar).to have_css("#comments .comment:last-child .prose", text: "After the storm.")
    expect_no_reload(omar)
  end

  it "shows what was written while it was away, and the writer was not kept waiting" do
    say(ines, "Into the void.")
    board.server.start
    expect(omar).to have_css("#comments .comment:last-child .prose", text: "Into the void.")
    expect(texts(omar, "#comments .prose").count("Into the void.")).to eq(1)
    expect_no_reload(omar)
  end
end
