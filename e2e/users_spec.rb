# frozen_string_literal: true

# The board knows its users: who is present, who has unread mentions, and who has signed out.
RSpec.shared_examples "a board that knows its users" do
  let(:thread) { "#{board.url}/discussions/2" }

  def name_of(person)
    person.find("#my-name").text
  end

  def rename(person, name)
    person.find("#me > summary").click
    person.fill_in("Your name here", with: name)
    person.click_button("Save")
    expect(person).to have_css("#my-name", text: name)
  end

  # Who is present, with the number. The visitor of the page is the first one.
  def expect_present(person, *others)
    names = [name_of(person), *others.sort]
    eventually("#{names.first} sees #{others.inspect}", within: 60) do # who has left is present for DEMO_GRACE more
      me, *rest = texts(person, "#readers .name")
      names == [me, *rest.sort] && texts(person, ".rail .here b") == [names.size.to_s]
    end
  end

  # The names of those who are present, as the server lists them now.
  def presence(person, room)
    person.evaluate_async_script(<<~JS, room)
      const [room, done] = arguments;
      NoDevent.room(room).presence().then(({ members }) => done(members.map(({ info }) => info.name)), () => done([]));
    JS
  end

  # The window has the focus, as that of a reader. In headless Chromium only the first window of a browser has it.
  def look_at(person)
    person.driver.browser.execute_cdp("Emulation.setFocusEmulationEnabled", enabled: true)
  end

  # Runs the block in another tab of this person.
  def in_another_tab(person, &block)
    tab = person.open_new_window
    person.within_window(tab, &block)
  ensure
    tab&.close
  end

  def sign_out(person)
    person.find("#me > summary").click
    person.click_button("Sign out everywhere")
    expect(person).to have_css("h1", text: "Signed out")
  end

  it "shows who reads a discussion, a person with two tabs once" do
    open_page(ines, thread)
    open_page(omar, thread)
    expect_present(ines, name_of(omar))
    in_another_tab(omar) do
      open_page(omar, thread)
      [omar, ines].zip([ines, omar]) { |person, other| expect_present(person, name_of(other)) }
    end

    omar.click_link("All discussions")
    expect_present(ines)
    expect_present(omar, name_of(ines)) # both are on the board
    expect_no_reload(ines)
  end

  it "shows the new name of a person who is present, and keeps it in lists" do
    open_page(ines, thread)
    open_page(omar, thread)
    name = "Omar #{SecureRandom.hex(3)}"
    rename(omar, name)
    expect_present(ines, name)
    eventually("the server has the new token") { presence(omar, "Readers_board").include?(name) }
    ines.refresh
    expect_present(ines, name)
  end

  it "refuses a name that another visitor has" do
    open_page(ines, board.url)
    open_page(omar, board.url)
    omar.find("#me > summary").click
    omar.fill_in("Your name here", with: name_of(ines).upcase)
    omar.click_button("Save")
    expect(omar).to have_css("#me .errors", text: "Name has already been taken")
    expect(omar.find("#my-name").text).not_to eq(name_of(ines))
  end

  it "shows who was here lately, of which a hook notifies the application" do
    open_page(ines, board.url)
    open_page(omar, board.url)
    name = name_of(omar)
    expect_present(ines, name)
    omar.visit("about:blank")
    # Who has left is present for DEMO_GRACE more.
    eventually("the board knows that #{name} has left", within: 60) do
      ines.refresh
      texts(ines, "#lately .name").first == name
    end
    expect(ines.find("#lately li:first-child time").text).to match(/ago|now/)
  end

  it "rings the bell of a mentioned person in all tabs, and the mention survives reloads until it is read" do
    open_page(ines, board.url)
    open_page(omar, thread)
    before = ines.has_css?("#unread", wait: 0) ? ines.find("#unread").text.to_i : 0
    say(omar, "Is this for you, @#{name_of(ines).downcase}?")
    expect(ines).to have_css("#unread", text: /\A#{before + 1}\z/)
    expect_no_reload(ines)
    expect(omar).to have_no_css("#unread")

    in_another_tab(ines) do
      open_page(ines, board.url)
      expect(ines).to have_css("#unread", text: /\A#{before + 1}\z/)
    end
    ines.refresh
    expect(ines).to have_css("#unread", text: /\A#{before + 1}\z/)
    ines.find("#bell > summary").click
    ines.find(".mention", text: "Is this for you").click
    expect(ines).to have_css("#comments .comment:last-child .prose", text: "Is this for you")

    # Read mentions do not come back: only the next one is unread.
    ines.visit(board.url)
    say(omar, "And this, @#{name_of(ines)}?")
    expect(ines).to have_css(".mention .quote", text: "And this", visible: :all)
    expect(ines).to have_no_css(".mention .quote", text: "Is this for you", visible: :all)
    expect(ines).to have_css("#unread", text: /\A#{before + 1}\z/)
  end

  it "acknowledges a mention in all tabs when its comment was seen, and all of them with one button" do
    open_page(ines, board.url)
    open_page(omar, thread)
    say(omar, "Seen soon, @#{name_of(ines)}.")
    expect(ines).to have_css(".mention .quote", text: "Seen soon", visible: :all)
    first = ines.current_window
    in_another_tab(ines) do
      ines.visit("#{thread}##{omar.find('#comments .comment:last-child')[:id]}")
      look_at(ines)
      expect(ines).to have_css("#bell.ringing") # it has received the mention
      expect(ines).to have_no_css(".mention .quote", text: "Seen soon", visible: :all)
      ines.within_window(first) { expect(ines).to have_no_css(".mention .quote", text: "Seen soon", visible: :all) }
    end

    2.times { |n| say(omar, "Number #{n} for @#{name_of(ines)}") }
    expect(ines).to have_css(".mention .quote", text: "Number 1", visible: :all)
    ines.find("#bell > summary").click
    ines.click_button("Mark all as read")
    expect(ines).to have_css("#no-mentions")
    expect(ines).to have_no_css(".mention", visible: :all)
  end

  it "writes the name of a person into the reply" do
    open_page(ines, thread)
    open_page(omar, thread)
    expect_present(omar, name_of(ines))
    omar.find(".reader:not([data-me]) button").click
    expect(omar.find(".compose textarea").value).to eq("@#{name_of(ines)} ")
  end

  it "ends the other tabs of a person who signs out, and no others; the person can sign in again" do
    open_page(ines, thread)
    open_page(omar, thread)
    name = name_of(omar)
    tab = omar.open_new_window
    omar.within_window(tab) { open_page(omar, thread) }
    sign_out(omar)

    omar.within_window(tab) do
      expect(omar).to have_css("#signed-out[open]", text: "You are signed out")
      expect(omar).to have_css("#signal", text: "Signed out")
      expect(omar.evaluate_script("NoDevent.connected()")).to be(false)
      expect(omar.evaluate_async_script("fetch('/live_token').then(({ status }) => arguments[0](status))")).to eq(204)
    end
    say(ines, "Who is left?")
    omar.within_window(tab) do
      expect(omar).to have_no_css("#comments .prose", text: "Who is left?", wait: 0)
      omar.click_button("Sign in again as #{name}")
      expect(omar).to have_css("#comments .prose", text: "Who is left?")
      expect(omar).to have_css("#signal[data-state=live]")
      expect(name_of(omar)).to eq(name)
    end
    expect_no_reload(ines)
  ensure
    tab&.close
  end

  it "delivers a mention that was written while the server was down, once it is back" do
    open_page(ines, board.url)
    open_page(omar, thread)
    board.server.stop
    say(omar, "During the restart, @#{name_of(ines)}.")
    board.server.start
    # The job tries again every five seconds.
    expect(ines).to have_css(".mention .quote", text: "During the restart", visible: :all, wait: 60)
    expect_no_reload(ines)
  end

  it "asks a visitor who has signed out before it continues as a new one" do
    open_page(omar, board.url)
    name = name_of(omar)
    sign_out(omar)
    omar.visit(thread)
    expect(omar).to have_css("h1", text: "Signed out")
    expect(omar).to have_button("Sign in again as #{name}")
    omar.click_button("Continue as a new visitor")
    expect(omar).to have_css("#signal[data-state=live]")
    expect(name_of(omar)).not_to eq(name)
  end
end

RSpec.describe "The users of the board on the memory engine" do
  include_context "with a board on the memory engine"
  include_examples "a board that knows its users"
end

RSpec.describe "The users of the board on Redis" do
  include_context "with a board on Redis"
  include_examples "a board that knows its users"

  it "keeps unread mentions when the server restarts" do
    open_page(ines, board.url)
    open_page(omar, thread)
    say(omar, "Before the restart, @#{name_of(ines)}.")
    expect(ines).to have_css(".mention .quote", text: "Before the restart", visible: :all)
    board.server.stop
    board.server.start
    ines.refresh
    expect(ines).to have_css(".mention .quote", text: "Before the restart", visible: :all)
  end
end
