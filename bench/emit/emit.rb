# frozen_string_literal: true

# What one call costs the thread that makes it: `NoDevent::Emitter.emit` beside redis-rb's `publish` and, with
# `--rails`, Action Cable's `broadcast`, all to the same Redis. Prints one line of JSON, microseconds per call.
#
#   ruby bench/emit/emit.rb redis://127.0.0.1:6379 [--rails]
#
# Calls are made in series of a thousand; what a queue holds then is sent before the next series, and not counted.
# Active Support has a `to_json` of its own, many times slower than that of Ruby's json: hence the two ways.

RAILS = ARGV.delete("--rails")

$LOAD_PATH.unshift File.expand_path("../../lib", __dir__)

require "json"
require "logger"
require "redis"
if RAILS
  require "rails"
  require "action_cable/engine"
end
require "nodevent"

# Measures one way to publish after the other.
class EmitCost
  SERIES = 60
  CALLS = 1000
  MESSAGE = { "id" => 12, "title" => "A discussion", "text" => "x" * 100,
              "author" => { "id" => 7, "name" => "Ada" } }.freeze

  def initialize(url)
    NoDevent::Emitter.config = { namespace: "/nodevent", redis: { url: url } }
    NoDevent::Emitter.emit("Room_12", "update", MESSAGE, wait: true)
    @redis = Redis.new(url: url)
    return unless RAILS

    ActionCable.server.config.cable = { "adapter" => "redis", "url" => url }
    ActionCable.server.config.logger = Logger.new(File::NULL)
  end

  # @return [Hash] microseconds per call
  def measure
    costs = ways.transform_values { [] }
    # One series of each in turn, so that what the machine does beside hits all alike.
    SERIES.times { ways.each { |name, call| costs[name] << series(call) } }
    figures(costs)
  end

  private

  def ways
    json = { room: "Room_12", event: "update", message: MESSAGE }.to_json
    all = {
      to_json: -> { MESSAGE.to_json },
      emit: -> { NoDevent::Emitter.emit("Room_12", "update", MESSAGE) },
      redis_publish: -> { @redis.publish("/nodevent", json) }
    }
    all[:action_cable_broadcast] = -> { ActionCable.server.broadcast("Room_12", MESSAGE) } if RAILS
    all
  end

  def series(call)
    GC.start
    began = now
    CALLS.times { call.call }
    cost = now - began
    raise "a series was not sent" unless NoDevent.flush(10)

    cost / CALLS * 1e6
  end

  def figures(costs)
    beyond = costs[:emit].zip(costs[:to_json]).map { |emit, to_json| emit - to_json }
    costs.merge(emit_beyond_to_json: beyond).transform_values { |values| values.sort[values.size / 2].round(3) }
  end

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end

puts JSON.generate(EmitCost.new(ARGV.fetch(0)).measure)
