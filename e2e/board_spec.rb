# frozen_string_literal: true

# The whole walk: a person writes in one browser, Rails commits, and the page of another browser shows it.
# N-107, N-108.
RSpec.shared_examples "a board that is live" do
  def titles(person)
    texts(person, "#discussions h2")
  end

  def comments(person)
    texts(person, "#comments .prose")
  end

  let(:library) { "#{board.url}/discussions/5" }

  it "shows a new discussion on the list of another browser, above all others (N-107)" do
    open_page(ines, board.url)
    open_page(omar, board.url)

    ines.find("summary", text: "Start a discussion").click
    ines.fill_in("Title", with: "Who feeds the cat in August?")
    ines.fill_in("What is it about?", with: "She eats little and sings a lot.")
    ines.click_button("Start it")

    expect(omar).to have_css("#discussions li:first-child h2", text: "Who feeds the cat in August?")
    expect_no_reload(omar)
    expect(titles(omar).count("Who feeds the cat in August?")).to eq(1)
    expect(titles(ines)).to eq(titles(omar))
  end

  it "joins the room of a new discussion with the key in the event (N-107, N-108)" do
    open_page(ines, board.url)
    open_page(omar, board.url)
    ines.find("summary", text: "Start a discussion").click
    ines.fill_in("Title", with: "A spare bicycle")
    ines.fill_in("What is it about?", with: "Three gears, one of them good.")
    ines.click_button("Start it")
    expect(omar).to have_link("A spare bicycle")

    ines.click_link("A spare bicycle")
    expect(ines).to have_css("#signal[data-state=live]")
    say(ines, "It also has a bell.")

    expect(omar).to have_css("#discussions li:first-child .count b", text: "1")
    expect(omar).to have_css("#feed .news:first-child .quote", text: "It also has a bell.")
    expect_no_reload(omar)
  end

  it "shows a comment in another browser, and counts it on both pages (N-107)" do
    open_page(ines, library)
    open_page(omar, library)
    before = omar.find(".replies b").text.to_i

    say(ines, "Monday it is.")

    expect(omar).to have_css("#comments .comment:last-child .prose", text: "Monday it is.")
    [ines, omar].each { |person| expect(person).to have_css(".replies b", text: (before + 1).to_s) }
    expect_no_reload(omar)
  end

  it "shows a comment once to its author, although both the response and the event contain it (N-107)" do
    open_page(ines, library)
    open_page(omar, library)
    say(ines, "Said once.")
    say(omar, "And received.")

    expect(ines).to have_css("#comments .prose", text: "And received.")
    expect(comments(ines).count("Said once.")).to eq(1)
    expect(comments(ines)).to eq(comments(omar))
  end

  it "shows changes and removes deleted comments (N-107)" do
    open_page(ines, library)
    open_page(omar, library)
    say(ines, "Mnday.")
    expect(omar).to have_css("#comments .prose", text: "Mnday.")

    ines.within("#comments .comment:last-child") do
      ines.find("summary", text: "Edit").click
      ines.fill_in("comment[body]", with: "Monday.")
      ines.click_button("Save")
    end
    expect(omar).to have_css("#comments .comment:last-child .prose", text: /\AMonday\.\z/)
    expect(omar).to have_css("#comments .comment:last-child .edited", text: "edited")

    2.times { ines.find("#comments .comment:last-child .plain").click }
    expect(omar).to have_no_css("#comments .prose", text: /\AMonday\.\z/)
    expect_no_reload(omar)
  end

  it "lets only the author change a comment" do
    open_page(ines, library)
    open_page(omar, library)
    say(ines, "Mine alone.")
    expect(omar).to have_css("#comments .prose", text: "Mine alone.")
    expect(ines).to have_css("#comments .comment:last-child summary", text: "Edit")
    expect(omar).to have_no_css("#comments .comment:last-child summary", text: "Edit")
  end

  it "shows changes made by another process (N-107)" do
    open_page(omar, library)
    board.run('Discussion.find(5).update!(title: "The library stays open until midnight")')
    expect(omar).to have_css("h1", text: "The library stays open until midnight")
    expect(omar.title).to start_with("The library stays open until midnight")
    expect_no_reload(omar)
  end

  it "shows nothing that was rolled back" do
    open_page(omar, library)
    board.run(<<~RUBY)
      Discussion.transaction do
        Discussion.find(5).comments.create!(author: Visitor.new(id: "x", name: "Nobody"), body: "Never happened")
        raise ActiveRecord::Rollback
      end
      Discussion.find(5).comments.create!(author: Visitor.new(id: "x", name: "Somebody"), body: "Happened")
    RUBY
    expect(omar).to have_css("#comments .prose", text: "Happened")
    expect(comments(omar)).not_to include("Never happened")
  end

  it "shows 200 comments of one process in order, without losses or duplicates" do
    open_page(ines, "#{board.url}/discussions/1")
    open_page(omar, "#{board.url}/discussions/1")
    board.run(<<~RUBY)
      discussion = Discussion.find(1)
      200.times { |n| discussion.comments.create!(author: Visitor.new(id: "x", name: "Counting"), body: "number \#{n}") }
    RUBY
    expected = Array.new(200) { |n| "number #{n}" }
    [ines, omar].each do |person|
      eventually("the last of 200 is shown") { comments(person).last == expected.last }
      expect(comments(person).last(200)).to eq(expected)
    end
  end

  it "shows HTML in a comment as text" do
    open_page(ines, library)
    open_page(omar, library)
    nasty = %q(</script><img src=x onerror="document.title='broken'"><b>bold</b>)
    say(ines, nasty)

    expect(omar).to have_css("#comments .comment:last-child .prose", text: nasty)
    expect(omar).to have_no_css("#comments .prose *")
    omar.refresh
    expect(omar).to have_css("#comments .comment:last-child .prose", text: nasty)
    expect(omar.title).not_to eq("broken")
  end

  it "notifies readers that a discussion was deleted" do
    open_page(ines, board.url)
    ines.find("summary", text: "Start a discussion").click
    ines.fill_in("Title", with: "A mistake")
    ines.fill_in("What is it about?", with: "Posted too early.")
    ines.click_button("Start it")
    ines.click_link("A mistake")
    open_page(omar, ines.current_url)

    2.times { ines.find("#opening .plain").click }

    expect(omar).to have_css("#closed", text: "This discussion was deleted.")
    expect(omar).to have_no_button("Reply")
    expect(ines).to have_css("#discussions")
    expect(titles(ines)).not_to include("A mistake")
  end

  it "logs no errors in the browser's console" do
    ines.driver.browser.logs.get(:browser) # discards the log of earlier pages
    open_page(ines, library)
    say(ines, "Quiet.")
    expect(ines).to have_css("#comments .prose", text: "Quiet.")
    complaints = ines.driver.browser.logs.get(:browser).select { |entry| entry.level == "SEVERE" }
    expect(complaints.map(&:message)).to eq([])
  end
end

RSpec.describe "The board on the memory engine" do
  include_context "with a board on the memory engine"
  include_examples "a board that is live"
end

RSpec.describe "The board on Redis" do
  include_context "with a board on Redis"
  include_examples "a board that is live"

  it "uses Redis: the server subscribes, and a manual publish arrives" do
    open_page(omar, "#{board.url}/discussions/5")
    expect(@redis.ask("pubsub", "numsub", "/board")).to match(%r{/board\s+[1-9]})
    @redis.ask("publish", "/board", { room: "Discussion_5", event: "destroy", message: { id: 5 } }.to_json)
    expect(omar).to have_css("#closed", text: "This discussion was deleted.")
  end
end
