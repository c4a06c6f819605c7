# frozen_string_literal: true

RSpec.describe NoDevent::Room do
  def room(object)
    NoDevent::Emitter.room(object)
  end

  it "N-84 is the String itself, or the name of a Class or Module" do
    expect(room("the_room")).to eq("the_room")
    expect(room(Admin::User)).to eq("Admin::User")
    expect(room(Admin)).to eq("Admin")
  end

  it "N-84 is class and to_param for a record, including those of a subclass" do
    expect(room(Doc.new("12"))).to eq("Doc_12")
    stub_const("Memo", Class.new(Doc))
    expect(room(Memo.new(3))).to eq("Memo_3")
  end

  it "N-85 is the text of a Symbol or Integer, in keys too" do
    expect([room(:lobby), room(42)]).to eq(%w[lobby 42])
    NoDevent::Emitter.config = { secret: "asdf" }
    expect(NoDevent::Emitter.room_key(:r, 4_102_444_800)).to eq(NoDevent::Emitter.room_key("r", 4_102_444_800))
  end

  it "N-86 is class and to_param or id for any other object" do
    stub_const("Thing", Struct.new(:id))
    expect(room(Thing.new(7))).to eq("Thing_7")
    expect(room(Doc.new(:slug))).to eq("Doc_slug")
  end

  it "N-87 is rejected for nil, blank, anonymous, unsaved and meaningless objects" do
    [nil, "", "  ", :"", Class.new, Module.new, Doc.new(nil), Doc.new(""), true, 1.5, [], {}, Object.new,
     "\xff", "a" * 256, Doc.new("a".encode("UTF-16LE"))].each do |object|
      expect { room(object) }.to raise_error(NoDevent::InvalidRoomError, /A room is a String/)
      expect { NoDevent::Emitter.emit(object, "e", 1) }.to raise_error(ArgumentError)
    end
  end

  it "N-84 N-86 separates parts that contain the separator, and leaves numbers, UUIDs and single parts as they are" do
    stub_const("Page", Struct.new(:tenant_slug, :slug) { include NoDevent::Base })
    Page.nodevent_room_by :tenant_slug, :slug
    pages = [%w[acme_x y], %w[acme x_y], %w[acme%5Fx y], %w[acme x%y_z], [3, "a_b"]].map { |parts| room(Page.new(*parts)) }
    expect(pages).to eq(%w[Page_acme%5Fx_y Page_acme_x_y Page_acme%255Fx_y Page_acme_x%y_z Page_3_a_b])
    stub_const("Item", Struct.new(:id))
    uuid = "0c1c3fd6-7c24-4b6a-8a2e-0f3a9ad5e6d1"
    expect([[3, 7], [uuid, 7], %w[a_b c], %w[a b_c], ["a_b"], "a_b"].map { |id| room(Item.new(id)) })
      .to eq(["Item_3_7", "Item_#{uuid}_7", "Item_a%5Fb_c", "Item_a_b_c", "Item_a_b", "Item_a_b"])
    Page.nodevent_room_by { |page| [page.tenant_slug, page.slug] }
    expect(room(Page.new("a_b", "c"))).to eq("Page_a%5Fb_c")
  end

  it "N-97 uses a `room` method that the class defines, also if another object emits" do
    expect([room(Custom), room(Custom.new(1))]).to eq(%w[all-of-them custom-1])
  end

  it "N-97 allows a `room` method to call super" do
    stub_const("Private", Class.new(Doc) { def room = "#{super}-private" })
    expect([Private.new(1).room, room(Private.new(1))]).to eq(%w[Private_1-private Private_1-private])
    stub_const("Round", Class.new(Doc) { def room = "#{NoDevent::Emitter.room(self)}-private" })
    expect { Round.new(1).room }.to raise_error(NoDevent::InvalidRoomError, /Round#room calls.*write `super`/)
    expect(room(Private.new(1))).to eq("Private_1-private")
  end

  it "N-97 leaves a `room` that returns anything but a name to the application" do
    stub_const("Message", Class.new(Doc) { def room = Doc.new(5) })
    message = Message.new(7)
    expect([message.room.to_param, room(message), message.nodevent_room]).to eq([5, "Message_7", "Message_7"])
  end

  it "is UTF-8, whatever the encoding of the String" do
    expect(room("\u00fc".encode("ISO-8859-1"))).to eq("\u00fc")
  end
end
