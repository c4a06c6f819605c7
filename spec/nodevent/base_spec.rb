# frozen_string_literal: true

RSpec.describe NoDevent::Base do
  let(:recorder) { Recorder.new }
  let(:doc) { Doc.new("12") }

  before do
    NoDevent::Emitter.config = { secret: "asdf" }
    NoDevent::Emitter.publisher = recorder
  end

  def digest(room, timestamp)
    "#{Digest::SHA256.hexdigest("#{room}#{timestamp}asdf")}:#{timestamp}"
  end

  it "N-92 gives an instance emit, room and room_key" do
    time = Time.now
    doc.emit("theevent", "themessage")
    expect(recorder.published).to eq([["/nodevent", '{"room":"Doc_12","event":"theevent","message":"themessage"}']])
    expect(doc.room).to eq("Doc_12")
    expect(doc.room_key(time)).to eq(digest("Doc_12", (time.to_f * 1000).to_i))
  end

  it "N-94 gives the class emit, room and room_key" do
    time = Time.now
    Doc.emit("theevent", "themessage")
    expect(recorder.last).to include("room" => "Doc", "event" => "theevent", "message" => "themessage")
    expect(Doc.room).to eq("Doc")
    expect(Doc.room_key(time)).to eq(digest("Doc", (time.to_f * 1000).to_i))
  end

  it "N-93 sends self without a message and for nil, and false as false" do
    doc.emit("e")
    doc.emit("e", nil)
    doc.emit("e", false)
    expect(recorder.published.map { |_, json| JSON.parse(json)["message"] })
      .to eq([{ "param" => "12" }, { "param" => "12" }, false])
  end

  it "N-93 sends the name of a class without a message" do
    Doc.emit("e")
    expect(recorder.last["message"]).to eq("Doc")
  end

  it "N-95 nodevent_create emits self to the room of the class, an overridden one too" do
    doc.nodevent_create
    expect(recorder.published.last).to eq(["/nodevent", '{"room":"Doc","event":"create","message":{"param":"12"}}'])
    Custom.new("1").nodevent_create
    expect(recorder.last).to include("room" => "all-of-them", "event" => "create")
  end

  it "N-96 nodevent_update emits self to the instance's room" do
    doc.nodevent_update
    expect(recorder.published.last).to eq(["/nodevent", '{"room":"Doc_12","event":"update","message":{"param":"12"}}'])
  end

  it "nodevent_destroy emits self to the instance's room" do
    doc.nodevent_destroy
    expect(recorder.last).to include("room" => "Doc_12", "event" => "destroy")
  end

  it "N-97 uses an overridden room everywhere" do
    custom = Custom.new("1")
    time = Time.now
    custom.emit("e", 1)
    expect(recorder.last["room"]).to eq("custom-1")
    custom.nodevent_update
    expect(recorder.last["room"]).to eq("custom-1")
    expect(custom.room_key(time)).to eq(digest("custom-1", (time.to_f * 1000).to_i))
    expect(custom.room_json[:room]).to eq("custom-1")
    expect(Custom.room_key(time)).to eq(digest("all-of-them", (time.to_f * 1000).to_i))
  end

  it "N-97 uses a room that is stubbed on one object" do
    allow(doc).to receive(:room).and_return("otherRoom")
    doc.nodevent_update
    expect(recorder.last["room"]).to eq("otherRoom")
  end

  it "N-98 room_json returns room and key for an hour, or for the given time" do
    now = Time.at(1_800_000_000)
    allow(Time).to receive(:now).and_return(now)
    expect(doc.room_json).to eq(room: "Doc_12", key: digest("Doc_12", 1_800_003_600_000))
    expect(doc.room_json(60)).to eq(room: "Doc_12", key: digest("Doc_12", 1_800_000_060_000))
    expect(Doc.room_json).to eq(room: "Doc", key: digest("Doc", 1_800_003_600_000))
  end
end
