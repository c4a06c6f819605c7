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

    def ines
      @@ines ||= Capybara::Session.new(:chromium) # rubocop:disable Style/ClassVars
    end

    def omar
      @@omar ||= Capybara::Session.new(:chromium) # rubocop:disable Style/ClassVars
    end

    # Opens a page and waits until it is live: connected, and in all of its rooms.
    def open_page(person, url)
      person.visit(url)
      expect(person).to have_css("#signal[data-state=live]")
      person.execute_script("window.neverLeft = true")
    end

    # The page is the one that was opened: nothing that it shows came from a reload.
    def expect_no_reload(person)
      expect(person.evaluate_script("window.neverLeft")).to be(true)
    end
  end
end
