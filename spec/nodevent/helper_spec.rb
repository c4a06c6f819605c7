# frozen_string_literal: true

require "openssl"

RSpec.describe NoDevent::Helper do
  let(:view) { Object.new.extend(described_class) }

  it "N-100 writes exactly the tag of the older gem" do
    expect(view.javascript_include_nodevent)
      .to eq("<script src='http://localhost:8080/api/nodevent' type='text/javascript'></script>")
  end

  it "N-101 nodevent_url has no double slashes" do
    { ["o", "http://h"] => "http://h/api/o", ["/o", "http://h/"] => "http://h/api/o",
      ["/o", "//h"] => "//h/api/o" }.each do |(namespace, host), url|
      NoDevent::Emitter.config = { namespace: namespace, host: host }
      expect(view.nodevent_url).to eq(url)
    end
  end

  it "escapes the host" do
    NoDevent::Emitter.config = { host: "http://h'><script>alert(1)</script>" }
    expect(view.javascript_include_nodevent).to start_with("<script src='http://h&#39;&gt;&lt;script&gt;alert")
  end

  it "supports nonce, defer and module" do
    expect(view.javascript_include_nodevent(nonce: "abc", defer: true))
      .to eq("<script src='http://localhost:8080/api/nodevent' type='text/javascript' nonce='abc' defer></script>")
    expect(view.javascript_include_nodevent(module: true)).to include(" type='module'>")
    expect { view.javascript_include_nodevent(crossorigin: true) }.to raise_error(ArgumentError, /:crossorigin/)
    expect { view.javascript_include_nodevent(async: true, defer: true) }.to raise_error(ArgumentError, /not both/)
  end

  it "puts the queue in front of an async tag, with the nonce, and knows its hash" do
    queue = File.read(File.join(ROOT, "client/dist/queue.js")).strip
    url = "http://localhost:8080/api/nodevent"
    expect(view.javascript_include_nodevent(async: true))
      .to eq("<script>#{queue}</script><script src='#{url}' type='text/javascript' async data-nodevent></script>")
    expect(view.javascript_include_nodevent(async: true, nonce: "a'b", module: true))
      .to eq("<script nonce='a&#39;b'>#{queue}</script><script src='#{url}' type='module' nonce='a&#39;b' async data-nodevent></script>")
    expect(queue).not_to include("</script")
    expect(queue.bytesize).to be < 1850
    expect(NoDevent.csp_hash).to eq("'sha256-#{[OpenSSL::Digest::SHA256.digest(queue)].pack('m0')}'")
  end

  it "uses the request's nonce" do
    def view.content_security_policy_nonce = "from-rails"
    expect(view.javascript_include_nodevent(nonce: true)).to include("nonce='from-rails'")
  end

  it "returns room and key of a record, as data and as a tag" do
    NoDevent::Emitter.config = { secret: "asdf" }
    data = view.nodevent_data(Doc.new(%(1">)))
    expect(data[:nodevent_room]).to eq(%(Doc_1">))
    expect(data[:nodevent_key]).to match(/\A\h{64}:\d{13}\z/)
    expect(view.nodevent_room_tag(Doc.new(%(1">))))
      .to match(/\A<meta name="nodevent-room" content="Doc_1&quot;&gt;" data-key="\h{64}:\d{13}">\z/)
  end

  it "returns the position of the room and the location of the key endpoint in the tag" do
    NoDevent::Emitter.config = { secret: "asdf" }
    data = { nodevent_room: "Doc_1", nodevent_key: "k", nodevent_position: "9f8e7d6c5b4a3928:41", nodevent_key_url: "/keys?a&b" }
    allow(view).to receive(:nodevent_data).and_return(data)
    expect(view.nodevent_room_tag(Doc.new(1))).to eq(
      %(<meta name="nodevent-room" content="Doc_1" data-key="k" data-position="9f8e7d6c5b4a3928:41" data-key-url="/keys?a&amp;b">)
    )
  end
end
