# frozen_string_literal: true

require "capybara"
require "selenium-webdriver"

module E2E
  # Two users, each with their own Chromium.
  module Browsers
    ARGUMENTS = %w[
      --headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking
      --disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1200,900
    ].freeze

    Capybara.register_driver(:chromium) do |app|
      options = Selenium::WebDriver::Chrome::Options.new(args: ARGUMENTS)
      options.add_option("goog:loggingPrefs", { "browser" => "ALL" })
      options.binary = ENV.fetch("CHROMIUM", "/usr/bin/chromium")
      service = Selenium::WebDriver::Service.chrome(path: ENV.fetch("CHROMEDRIVER", "/usr/bin/chromedriver"))
      Capybara::Selenium::Driver.new(app, browser: :chrome, options: options, service: service)
    end
    Capybara.default_max_wait_time = Waiting::LIMIT
    Capybara.save_path = TMP

    # One browser per name, for all specs.
    OPEN = Hash.new { |open, name| open[name] = Capybara::Session.new(:chromium) }

    def ines
      OPEN[:ines]
    end

    def omar
      OPEN[:omar]
    end

    REFRESHED = "performance.getEntriesByType('resource').some(({ name }) => name.endsWith('.json'))"

    # Opens a page and waits until it is live: connected, in its rooms, and finished with its first request for missed
    # events. Everything it shows from here on comes from events.
    def open_page(person, url)
      person.visit(url)
      expect(person).to have_css("#signal[data-state=live]")
      eventually("the page has refreshed itself") { person.evaluate_script(REFRESHED) }
      person.execute_script("window.neverLeft = true")
    end

    # Writes a reply, and waits until the writer's page shows it.
    def say(person, text)
      person.fill_in("comment[body]", with: text, currently_with: "")
      person.click_button("Reply")
      expect(person).to have_css("#comments .prose", text: text)
    end

    # The texts of all matching elements, in order, with one request to the browser.
    def texts(person, selector)
      person.evaluate_script("[...document.querySelectorAll(arguments[0])].map((node) => node.textContent.trim())", selector)
    end

    # Checks that the page was not reloaded.
    def expect_no_reload(person)
      expect(person.evaluate_script("window.neverLeft")).to be(true)
    end
  end
end
