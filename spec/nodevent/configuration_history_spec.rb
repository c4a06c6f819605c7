# frozen_string_literal: true

RSpec.describe NoDevent::Configuration::History do
  def config(settings)
    NoDevent::Configuration.from({ redis: "redis://localhost/0" }.merge(settings))
  end

  def target(settings)
    NoDevent::Configuration::NativeTarget.of(config(settings)).dig(:engine, :redis).slice(:history, :channel_per_room)
  end

  it "keeps a hundred publications for five minutes by default" do
    expect(config({}).history).to eq(default: { size: 100, age: 300_000 }, prefixes: [])
    expect(target({})).to eq(history: { default: { size: 100, age: { secs: 300, nanos: 0 } }, prefixes: [] },
                             channel_per_room: false)
  end

  it "can be off, an age, or different for room prefixes, as the server reads it" do
    expect(config(history: "off").history).to eq(default: nil, prefixes: [])
    expect(config(history: "1500ms").history[:default]).to eq(size: 100, age: 1_500)
    expect(target(history: "1500ms").dig(:history, :default)).to eq(size: 100, age: { secs: 1, nanos: 500_000_000 })
    some = config(history: { size: 10, rooms: { "Chat_" => { size: 500 }, "Tmp_*" => "off" } }).history
    expect(some).to eq(default: { size: 10, age: 300_000 },
                       prefixes: [["Chat_", { size: 500, age: 300_000 }], ["Tmp_", nil]])
  end

  it "reports the invalid value and what to write" do
    expect { config(history: "lots") }.to raise_error(NoDevent::ConfigurationError, /history is neither off nor an age; write off/)
    expect { config(history: { size: "big" }) }.to raise_error(NoDevent::ConfigurationError, /history\.size is not a valid number/)
    expect { config(channel_per_room: "all") }
      .to raise_error(NoDevent::ConfigurationError, /channel_per_room is neither true nor false/)
  end

  it "publishes to the room's own channel with channel_per_room" do
    expect(target(channel_per_room: true)[:channel_per_room]).to be(true)
  end
end
