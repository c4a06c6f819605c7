# frozen_string_literal: true

# A custom publisher that records, and returns what Redis would.
class Recorder
  attr_reader :published

  def initialize(result: 1)
    @published = []
    @result = result
  end

  def publish(channel, json)
    @published << [channel, json]
    @result
  end

  def last
    channel, json = @published.last
    JSON.parse(json).merge("channel" => channel)
  end
end
