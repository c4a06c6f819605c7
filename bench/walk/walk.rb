# frozen_string_literal: true

# The full path of an event: from `NoDevent::Emitter.emit` in Ruby to a handler in a page in Chromium. Prints one line
# of JSON with milliseconds.
#
#   ruby bench/walk/walk.rb http://127.0.0.1:8080 a-secret [redis://127.0.0.1:6379]
#
# Both ends read the clock of this machine; the browser's clock has steps of 0.1 ms. Without a Redis, publications go to
# the server over HTTP.

$LOAD_PATH.unshift File.expand_path("../../lib", __dir__)

require "json"
require "nodevent"
require "selenium-webdriver"

# Emits at a constant rate, and reads the events and their arrival times from the page.
class Walk
  PUBLICATIONS = 500
  PACE = 0.02
  WARM_UP = 50
  TIMEOUT = 10
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
      window.received = [];
      NoDevent.room(room).on("walk", (message) => {
        window.received.push([message.number, message.at, performance.timeOrigin + performance.now()]);
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
      (WARM_UP + PUBLICATIONS).times { |number| emit(number) }
      await(driver)
      figures(driver.execute_script("return window.received"))
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
    driver.manage.timeouts.script_timeout = TIMEOUT
    # Any page of the same host serves.
    driver.navigate.to("#{@server}/healthz")
    key = NoDevent::Emitter.room_key(ROOM, Time.now + 600)
    result = driver.execute_async_script(JOIN, "#{@server}/api/nodevent", ROOM, key)
    raise "the page did not join: #{result}" unless result == "joined"
  end

  def emit(number)
    NoDevent::Emitter.emit(ROOM, "walk", { number: number, at: Process.clock_gettime(Process::CLOCK_REALTIME) * 1e3 })
    sleep PACE
  end

  def await(driver)
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + TIMEOUT
    while driver.execute_script("return window.received.length") < WARM_UP + PUBLICATIONS
      break if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline

      sleep 0.05
    end
  end

  def figures(received)
    counted = received.select { |number, _, _| number >= WARM_UP }
    times = counted.map { |_, at, arrived| arrived - at }.sort
    raise "no event arrived" if times.empty?

    at = ->(share) { times[((times.size - 1) * share).round].round(2) }
    { publications: PUBLICATIONS, received: counted.size, in_order: received.map(&:first) == received.map(&:first).sort,
      p50: at.call(0.5), p95: at.call(0.95), p99: at.call(0.99), max: at.call(1) }
  end
end

server, secret, redis = ARGV
puts JSON.generate(Walk.new(server, secret, redis).measure)
