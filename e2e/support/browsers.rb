# frozen_string_literal: true

require "capybara"
require "selenium-webdriver"

module E2E
  # Two people, each with a Chromium of their own.
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
    Capybara.default_max_wait_time = Patience::LIMIT
    Capybara.save_path = TMP

    # One browser for each name, for all specs.
    OPEN = Hash.new { |open, name| open[name] = Capybara::Session.new(:chromium) }

    def ines
      OPEN[:ines]
    end

    def omar
      OPEN[:omar]
    end

    REFRESHED = "performance.getEntriesByType('resource').some(({ name }) => name.endsWith('.json'))"

    # Opens a page and waits until it is live: connected, in its rooms, and done with asking once for what it
    # may have missed before. What it shows from here on, it has heard.
    def open_page(person, url)
      person.visit(url)
      expect(person).to have_css("#signal[data-state=live]")
      eventually("the page has refreshed itself") { person.evaluate_script(REFRESHED) }
      person.execute_script("window.neverLeft = true")
    end

    # The texts of all elements that match, in their order; one question to the browser, however many.
    def texts(person, selector)
      person.evaluate_script("[...document.querySelectorAll(arguments[0])].map((node) => node.textContent.trim())", selector)
    end

    # The page is the one that was opened: nothing that it shows came from a reload.
    def expect_no_reload(person)
      expect(person.evaluate_script("window.neverLeft")).to be(true)
    end
  end
end
