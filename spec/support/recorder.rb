# frozen_string_literal: true

# A publisher that keeps what it is given, and answers as Redis would.
class Recorder
  attr_reader :published

  def initialize(answer: 1)
    @published = []
    @answer = answer
  end

  def publish(channel, json)
    @published << [channel, json]
    @answer
  end

  def last
    channel, json = @published.last
    JSON.parse(json).merge("channel" => channel)
  end
end
