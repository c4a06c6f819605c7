# frozen_string_literal: true

# The second board of the demo: plain Turbo with morphing refreshes, and stock Action Cable, as they are in npm.
RSpec.shared_examples "a board with plain Turbo" do
  let(:list) { "#{board.url}/turbo" }
  let(:library) { "#{board.url}/turbo/discussions/5" }

  # Opens a page, and waits until its stream is subscribed.
  def open_turbo(person, url)
    person.visit(url)
    expect(person).to have_css("turbo-cable-stream-source[connected]", visible: :all)
    expect(person).to have_css(".signal", text: "Live")
    person.execute_script("window.neverLeft = true")
  end

  def reply(person, text)
    person.fill_in("comment[body]", with: text, currently_with: "")
    person.click_button("Reply")
    expect(person).to have_css("#comments .prose", text: text)
    expect(person).to have_field("comment[body]", with: "")
  end

  def replies(person)
    texts(person, "#comments .prose")
  end

  it "is linked from the first board, and links back" do
    open_page(ines, board.url)
    ines.click_link("Turbo")
    expect(ines).to have_css("turbo-cable-stream-source[connected]", visible: :all)
    ines.click_link("Events")
    expect(ines).to have_css("#signal[data-state=live]")
  end

  it "shows a reply in another browser, and counts it, without loading the page" do
    open_turbo(ines, library)
    open_turbo(omar, library)
    before = omar.find(".replies b").text.to_i
    reply(ines, "Morphed into place.")
    expect(omar).to have_css("#comments .comment:last-child .prose", text: "Morphed into place.")
    [ines, omar].each do |person|
      expect(person).to have_css(".replies b", text: (before + 1).to_s, exact_text: true)
      expect_no_reload(person)
    end
    expect(replies(ines)).to eq(replies(omar))
  end

  it "keeps what a reader is writing, and the connection of its stream, while the page is morphed" do
    open_turbo(ines, library)
    open_turbo(omar, library)
    omar.fill_in("comment[body]", with: "Half a sentence")
    reply(ines, "An interruption.")
    expect(omar).to have_css("#comments .prose", text: "An interruption.")
    expect(omar).to have_field("comment[body]", with: "Half a sentence")
    expect(omar).to have_css(".signal", text: "Live")
  end

  it "shows a new discussion on the list, and leaves a page whose discussion was deleted" do
    open_turbo(ines, list)
    open_turbo(omar, list)
    ines.find("summary", text: "Start a discussion").click
    ines.fill_in("Title", with: "A kettle to give away")
    ines.fill_in("What is it about?", with: "It whistles in G.")
    ines.click_button("Start it")
    expect(ines).to have_css("h1", text: "A kettle to give away")
    expect(omar).to have_css("#discussions li:first-child h2", text: "A kettle to give away")
    omar.click_link("A kettle to give away")
    expect(omar).to have_css("h1", text: "A kettle to give away")
    expect(omar).to have_css("turbo-cable-stream-source[connected]", visible: :all)

    ines.accept_confirm { ines.click_button("Delete") }
    expect(omar).to have_css(".notice", text: "That discussion does not exist any more.")
    expect(omar).to have_css("h1", text: "Discussions")
    expect(omar).to have_no_css("#discussions h2", text: "A kettle to give away")
    expect_no_reload(omar)
  end

  it "shows what is written on the other board, and the other way round" do
    open_turbo(ines, library)
    open_page(omar, "#{board.url}/discussions/5")
    say(omar, "From the board with events.")
    expect(ines).to have_css("#comments .prose", text: "From the board with events.")
    reply(ines, "From the board with Turbo.")
    expect(omar).to have_css("#comments .prose", text: "From the board with Turbo.")
    expect_no_reload(omar)
  end

  it "lets only the author delete a reply" do
    open_turbo(ines, library)
    open_turbo(omar, library)
    reply(ines, "Soon gone.")
    expect(omar).to have_css("#comments .comment:last-child .prose", text: "Soon gone.")
    expect(omar).to have_no_css("#comments .comment:last-child .own", visible: true)
    ines.within("#comments .comment:last-child") { ines.accept_confirm { ines.click_button("Delete") } }
    [ines, omar].each { |person| expect(person).to have_no_css("#comments .prose", text: "Soon gone.") }
  end

  it "shows changes of another process, and 100 replies in order" do
    open_turbo(omar, "#{board.url}/turbo/discussions/1")
    board.run(<<~RUBY)
      discussion = Discussion.find(1)
      discussion.update!(title: "What did you repair today?")
      100.times { |n| discussion.comments.create!(author: Visitor.new(id: "x", name: "Counting"), body: "number \#{n}") }
    RUBY
    expected = Array.new(100) { |n| "number #{n}" }
    eventually("the last of 100 is shown") { replies(omar).last == expected.last }
    expect(replies(omar).last(100)).to eq(expected)
    expect(omar).to have_css("h1", text: "What did you repair today?")
    expect_no_reload(omar)
  end

  it "shows what was written between rendering the page and subscribing" do
    open_turbo(ines, library)
    omar.visit("about:blank")
    # The page of a reader, as it was rendered before the reply.
    rendered = ines.evaluate_async_script(<<~JS, library)
      const [url, done] = arguments;
      fetch(url).then((response) => response.text()).then(done);
    JS
    since = rendered[/data-nodevent-since="([^"]+)"/, 1]
    expect(since).to match(/\A\h{16}:\d+\z/)
    reply(ines, "In between.")
    open_turbo(omar, library)
    omar.execute_script(<<~JS, since)
      const [since] = arguments;
      document.querySelector("#comments .comment:last-child").remove();
      const now = document.querySelector("turbo-cable-stream-source");
      const then = now.cloneNode();
      then.dataset.nodeventSince = since;
      then.dataset.nodeventPage = "0123456789abcdef0123456789abcdef"; // another page
      then.removeAttribute("connected");
      now.replaceWith(then);
    JS
    expect(omar).to have_css("#comments .comment:last-child .prose", text: "In between.")
    expect_no_reload(omar)
  end

  it "shows HTML in a reply as text" do
    open_turbo(ines, library)
    open_turbo(omar, library)
    nasty = %q(</script><turbo-stream action="refresh"></turbo-stream><img src=x onerror="document.title='broken'">)
    reply(ines, nasty)
    expect(omar).to have_css("#comments .comment:last-child .prose", text: nasty)
    expect(omar).to have_no_css("#comments .prose *")
    expect(omar.title).not_to eq("broken")
  end

  it "logs no errors in the browser's console" do
    ines.driver.browser.logs.get(:browser) # discards the log of earlier pages
    open_turbo(ines, list)
    ines.find("#discussions a", match: :first).click
    expect(ines).to have_css("#comments")
    reply(ines, "Quiet.")
    complaints = ines.driver.browser.logs.get(:browser).select { |entry| entry.level == "SEVERE" }
    expect(complaints.map(&:message)).to eq([])
  end
end

RSpec.describe "The Turbo board on the memory engine" do
  include_context "with a board on the memory engine"
  include_examples "a board with plain Turbo"

  it "is subscribed again after a restart of the server, and loads the page that may have missed something" do
    open_turbo(omar, "#{board.url}/turbo/discussions/5")
    board.server.stop
    expect(omar).to have_css(".signal", text: "Connecting")
    # The server does not run, so no refresh reaches the page.
    board.run('Discussion.find(5).update!(title: "Written while the server was down")')
    board.server.start
    expect(omar).to have_css("h1", text: "Written while the server was down", wait: 90)
    expect(omar).to have_css(".signal", text: "Live")
    expect_no_reload(omar)
  end
end

RSpec.describe "The Turbo board on Redis" do
  include_context "with a board on Redis"
  include_examples "a board with plain Turbo"
end
