# frozen_string_literal: true

# The cost of one call for the calling thread: `NoDevent::Emitter.emit` to a room and to that of a record, `emit` of
# the record, redis-rb's `publish` and, with `--rails`, Action Cable's `broadcast`, all to the same Redis. Prints one
# line of JSON with microseconds per call.
#
#   ruby bench/emit/emit.rb redis://127.0.0.1:6379 [--rails]
#
# Calls run in series of a thousand. After each series the queue is flushed, which is not counted. Active Support's
# `to_json` is many times slower than the one of Ruby's json, so both are measured. With `--rails`, the record is one of
# Active Record in SQLite.

RAILS = ARGV.delete("--rails")

$LOAD_PATH.unshift File.expand_path("../../lib", __dir__)

require "json"
require "logger"
require "redis"
if RAILS
  require "rails"
  require "action_cable/engine"
  require "active_record"
end
require "nodevent"

if RAILS
  ActiveRecord::Base.establish_connection(adapter: "sqlite3", database: ":memory:")
  ActiveRecord::Schema.verbose = false
  ActiveRecord::Schema.define { create_table(:documents) { |table| table.string(:title) } }

  # A record of Rails.
  class Document < ActiveRecord::Base
    include NoDevent::Base
  end
else
  # A record without Rails.
  class Document
    include NoDevent::Base

    def self.create!(**) = new

    def to_param = "12"
  end
end

# Measures the calls in turn.
class EmitCost
  SERIES = 60
  CALLS = 1000
  MESSAGE = { "id" => 12, "title" => "A discussion", "text" => "x" * 100,
              "author" => { "id" => 7, "name" => "Ada" } }.freeze
  EMITS = %i[emit emit_record record_emit].freeze

  def initialize(url)
    NoDevent::Emitter.config = { namespace: "/nodevent", redis: { url: url } }
    NoDevent::Emitter.emit("Room_12", "update", MESSAGE, wait: true)
    @redis = Redis.new(url: url)
    @record = Document.create!(title: "A discussion")
    return unless RAILS

    ActionCable.server.config.cable = { "adapter" => "redis", "url" => url }
    ActionCable.server.config.logger = Logger.new(File::NULL)
  end

  # @return [Hash] microseconds per call
  def measure
    costs = calls.transform_values { [] }
    # One series of each in turn, so that other activity of the machine affects all alike.
    SERIES.times { calls.each { |name, call| costs[name] << series(call) } }
    figures(costs)
  end

  private

  def calls
    json = { room: "Room_12", event: "update", message: MESSAGE }.to_json
    all = {
      to_json: -> { MESSAGE.to_json },
      emit: -> { NoDevent::Emitter.emit("Room_12", "update", MESSAGE) },
      emit_record: -> { NoDevent::Emitter.emit(@record, "update", MESSAGE) },
      record_emit: -> { @record.emit("update", MESSAGE) },
      redis_publish: -> { @redis.publish("/nodevent", json) }
    }
    all[:action_cable_broadcast] = -> { ActionCable.server.broadcast("Room_12", MESSAGE) } if RAILS
    all
  end

  def series(call)
    GC.start
    started = now
    CALLS.times { call.call }
    cost = now - started
    raise "a series was not sent" unless NoDevent.flush(10)

    cost / CALLS * 1e6
  end

  def figures(costs)
    beyond = EMITS.to_h { |name| [:"#{name}_beyond_to_json", costs[name].zip(costs[:to_json]).map { |a, b| a - b }] }
    costs.merge(beyond).transform_values { |values| values.sort[values.size / 2].round(3) }
  end

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end

puts JSON.generate(EmitCost.new(ARGV.fetch(0)).measure)
