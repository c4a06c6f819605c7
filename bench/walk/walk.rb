# frozen_string_literal: true

# The whole walk: from `NoDevent::Emitter.emit` in Ruby to a handler in a page in Chromium. Prints one line of JSON,
# milliseconds.
#
#   ruby bench/walk/walk.rb http://127.0.0.1:8080 a-secret [redis://127.0.0.1:6379]
#
# Both ends read the clock of this machine; a browser's has steps of 0.1 ms. Without a Redis, emissions go to the
# server by HTTP.

$LOAD_PATH.unshift File.expand_path("../../lib", __dir__)

require "json"
require "nodevent"
require "selenium-webdriver"

# Emits at a steady pace and asks the page what it heard, and when.
class Walk
  EMISSIONS = 500
  PACE = 0.02
  WARM_UP = 50
  PATIENCE = 10
  ROOM = "Discussion_12"
  ARGUMENTS = %w[
    --headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --disable-dev-shm-usage
  ].freeze
  JOIN = <<~JS
    const [source, room, key, done] = arguments;
    const script = document.createElement("script");
    script.src = source;
    script.onload = () => {
      window.heard = [];
      NoDevent.room(room).on("walk", (message) => {
        window.heard.push([message.number, message.at, performance.timeOrigin + performance.now()]);
      });
      NoDevent.room(room).setKey(key).join((error) => done(error || "joined"));
    };
    document.head.append(script);
  JS

  def initialize(server, secret, redis)
    @server = server
    publishing = redis ? { redis: { url: redis } } : { url: server }
    NoDevent::Emitter.config = { namespace: "/nodevent", host: server, secret: secret, **publishing }
  end

  # @return [Hash]
  def measure
    browse do |driver|
      (WARM_UP + EMISSIONS).times { |number| emit(number) }
      await(driver)
      figures(driver.execute_script("return window.heard"))
    end
  end

  private

  def browse
    options = Selenium::WebDriver::Chrome::Options.new(args: ARGUMENTS)
    options.binary = ENV.fetch("CHROMIUM", "/usr/bin/chromium")
    service = Selenium::WebDriver::Service.chrome(path: ENV.fetch("CHROMEDRIVER", "/usr/bin/chromedriver"))
    driver = Selenium::WebDriver.for(:chrome, options: options, service: service)
    join(driver)
    yield driver
  ensure
    driver&.quit
  end

  def join(driver)
    driver.manage.timeouts.script_timeout = PATIENCE
    # Any page of the same host will do.
    driver.navigate.to("#{@server}/healthz")
    key = NoDevent::Emitter.room_key(ROOM, Time.now + 600)
    said = driver.execute_async_script(JOIN, "#{@server}/api/nodevent", ROOM, key)
    raise "the page did not join: #{said}" unless said == "joined"
  end

  def emit(number)
    NoDevent::Emitter.emit(ROOM, "walk", { number: number, at: Process.clock_gettime(Process::CLOCK_REALTIME) * 1e3 })
    sleep PACE
  end

  def await(driver)
    until_then = Process.clock_gettime(Process::CLOCK_MONOTONIC) + PATIENCE
    while driver.execute_script("return window.heard.length") < WARM_UP + EMISSIONS
      break if Process.clock_gettime(Process::CLOCK_MONOTONIC) > until_then

      sleep 0.05
    end
  end

  def figures(heard)
    counted = heard.select { |number, _, _| number >= WARM_UP }
    walks = counted.map { |_, at, came| came - at }.sort
    raise "nothing was heard" if walks.empty?

    at = ->(share) { walks[((walks.size - 1) * share).round].round(2) }
    { emissions: EMISSIONS, heard: counted.size, in_order: heard.map(&:first) == heard.map(&:first).sort,
      p50: at.call(0.5), p95: at.call(0.95), p99: at.call(0.99), max: at.call(1) }
  end
end

server, secret, redis = ARGV
puts JSON.generate(Walk.new(server, secret, redis).measure)
