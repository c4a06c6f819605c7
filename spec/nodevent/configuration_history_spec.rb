# frozen_string_literal: true

RSpec.describe NoDevent::Configuration::History do
  def target(settings)
    config = NoDevent::Configuration.from({ redis: "redis://localhost/0" }.merge(settings))
    config.publisher_target.dig(:engine, :redis).slice(:history, :fanout_by_room)
  end

  it "keeps a hundred emissions for five minutes where nothing is said" do
    expect(target({})).to eq(history: { usual: { size: 100, age: 300_000 }, prefixes: [] }, fanout_by_room: false)
  end

  it "can be off, short, and other for rooms by prefix, as the server reads it" do
    expect(target(history: "off")[:history]).to eq(usual: nil, prefixes: [])
    expect(target(history: "30s")[:history][:usual]).to eq(size: 100, age: 30_000)
    some = target(history: { size: 10, rooms: { "Chat_" => { size: 500 }, "Tmp_*" => "off" } })[:history]
    expect(some).to eq(usual: { size: 10, age: 300_000 },
                       prefixes: [["Chat_", { size: 500, age: 300_000 }], ["Tmp_", nil]])
  end

  it "says which value is wrong, and what to write" do
    expect { target(history: "lots") }.to raise_error(NoDevent::ConfigurationError, /history.*lots.*write off/)
    expect { target(history: { size: "big" }) }.to raise_error(NoDevent::ConfigurationError, /history\.size.*big/)
    expect { target(fanout: "all") }.to raise_error(NoDevent::ConfigurationError, /fanout.*all.*namespace or room/)
  end

  it "publishes to the room's own channel where the fanout is by room" do
    expect(target(fanout: "room")[:fanout_by_room]).to be(true)
  end
end
