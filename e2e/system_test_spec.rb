# frozen_string_literal: true

# The guide's system tests, in a new application: the blocks of docs/rails.md as they are written there. Capybara serves the
# application on a random port of 127.0.0.1, and the server is at another one.
RSpec.describe "The guide's system tests" do
  before(:context) do
    guide = E2E::Readme.new("11. Tests", file: File.join(E2E::ROOT, "docs", "rails.md"))
    @port = E2E::Program.free_port
    @app = E2E::NewApp.new
    @app.install("capybara", "selenium-webdriver")
    @app.write("config/nodevent.yml", own_port(guide.block("yaml", /port: 8090/)))
    @app.write("config/routes.rb", %(Rails.application.routes.draw { root to: "pages#show" }\n))
    @app.write("app/controllers/pages_controller.rb", "class PagesController < ApplicationController\n  def show = render(inline: #{page.inspect}, layout: true)\nend\n")
    @app.write("app/views/layouts/application.html.erb", "<html><head><%= javascript_include_nodevent async: true %></head><body><%= yield %></body></html>")
    @app.write("test/test_helper.rb", %(ENV["RAILS_ENV"] = "test"\nrequire_relative "../config/environment"\nrequire "action_controller"\nrequire "rails/test_help"\nrequire "capybara/rails"\n))
    @app.write("test/application_system_test_case.rb", %(require "test_helper"\n#{in_this_chromium(own_port(guide.block('ruby', /ApplicationSystemTestCase/)))}))
    @app.write("test/system/live_test.rb", live_test)
    @app.write("test/recorded_test.rb", recorded_test)
  end

  after(:context) { @app&.remove }

  def page
    <<~ERB
      <ol id="list" <%= tag.attributes(data: nodevent_data("lobby")) %>></ol>
      <script>
        const { nodeventRoom: room, nodeventKey: key } = document.getElementById("list").dataset;
        NoDevent.room({ room, key }).join((error) => list.dataset.joined = error === null)
          .on("hello", (text) => list.append(Object.assign(document.createElement("li"), { textContent: text })));
      </script>
    ERB
  end

  def live_test
    <<~RUBY
      require "application_system_test_case"

      class LiveTest < ApplicationSystemTestCase
        2.times do |number|
          test "an event reaches the page, \#{number}" do
            visit "/"
            assert_match(%r{\\Ahttp://127\\.0\\.0\\.1:}, current_url)
            assert_selector "#list[data-joined=true]"
            NoDevent::Emitter.emit("lobby", "hello", "world \#{number}")
            assert_selector "#list li", text: "world \#{number}", count: 1
          end
        end
      end
    RUBY
  end

  def recorded_test
    <<~RUBY
      require "test_helper"
      require "nodevent/minitest"

      class RecordedTest < ActiveSupport::TestCase
        test "other tests record" do
          assert_emitted("hello", to: "lobby", count: 1) { NoDevent::Emitter.emit("lobby", "hello", 1) }
        end
      end
    RUBY
  end

  def own_port(text)
    text.gsub("8090", @port.to_s)
  end

  # Chromium does not run as root without these.
  def in_this_chromium(text)
    text.sub(/driven_by .*/, <<~'RUBY')
      \0 do |options|
        %w[--no-sandbox --disable-gpu --disable-dev-shm-usage].each { |argument| options.add_argument(argument) }
        options.binary = ENV.fetch("CHROMIUM", "/usr/bin/chromium")
      end
    RUBY
  end

  it "pass, and other tests of the same process record" do
    output = @app.run("bundle exec ruby -Itest -e 'Dir[%(./test/**/*_test.rb)].each { |file| require file }'")
    expect(output).to match(/3 runs, \d+ assertions, 0 failures, 0 errors, 0 skips/)
  end
end
