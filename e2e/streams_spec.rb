# frozen_string_literal: true

# Turbo Streams from a model to a browser, in a new application without turbo-rails and without Turbo: the generator, one
# macro, one helper. Issue 18, "Hotwire first".
RSpec.describe "Turbo Streams in a new application" do
  before(:context) do
    @app = E2E::NewApp.new
    @app.install
    @app.run("bin/rails generate nodevent:install --frontend=public")
    @app.run("bin/rails generate scaffold discussion title && bin/rails db:migrate")
    @app.configure(@app.read("config/nodevent.yml"))
    @app.write("app/models/discussion.rb", "class Discussion < ApplicationRecord\n  broadcasts_nodevent\nend\n")
    @app.write("app/views/discussions/_discussion.html.erb", %(<li id="<%= dom_id(discussion) %>"><%= discussion.title %></li>\n))
    @app.write("app/views/discussions/index.html.erb", <<~ERB)
      <%= nodevent_stream_from Discussion %>
      <ul id="discussions"><%= render @discussions %></ul>
    ERB
    @app.start("bin/rails server")
  end

  after(:context) { @app&.remove }

  def change(code)
    @app.run(%(bin/rails runner '#{code}'))
  end

  it "shows what another process creates, changes and destroys, as HTML that is escaped" do
    omar.visit("#{@app.url}/discussions")
    expect(omar).to have_css("nodevent-stream-source[joined]", visible: :all)
    change('Discussion.create!(title: "<b>One"); Discussion.create!(title: "Two")')
    expect(omar).to have_css("#discussions li:last-child", text: "Two")
    expect(texts(omar, "#discussions li")).to eq(["<b>One", "Two"])
    change('Discussion.first.update!(title: "Changed"); Discussion.last.destroy!')
    expect(omar).to have_no_css("#discussion_2")
    expect(texts(omar, "#discussions li")).to eq(["Changed"])
  end
end
