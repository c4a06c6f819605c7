# frozen_string_literal: true

require "digest"
require "rack"
require "rack/mock"
# Rack 3 has sessions in another gem.
begin
  require "rack/session"
rescue LoadError
  require "rack/session/cookie"
end
require "zlib"

# What the middleware changes in responses, and what it does not.
RSpec.describe NoDevent::Realtime do
  html = "<html><head><script>'<body>'</script></head><body class=\"a\">x</body></html>"
  attribute = / data-socket-connection-id="\h{64}"/
  secret = "0123456789abcdef0123456789abcdef"

  before do
    NoDevent::Emitter.config = { "/live" => { "pages" => { "secret" => secret } } }
  end

  after { described_class.reset! }

  # A browser with cookies, for an application that is a block.
  def visit(path = "/", options = {}, &application)
    @jar ||= {}
    stack = Rack::Builder.new do
      use Rack::ETag
      use Rack::Session::Cookie, secret: "x" * 64
      use NoDevent::Realtime
      run application
    end
    cookies = @jar.map { |pair| pair.join("=") }.join("; ")
    response = Rack::MockRequest.new(stack).request(options.delete(:method) || "GET", path, { "HTTP_COOKIE" => cookies }.merge(options))
    # Rack 3 has several as an Array.
    cookies = Array(response.headers["Set-Cookie"]).join("\n")
    response.headers["Set-Cookie"] = cookies unless cookies.empty?
    cookies.each_line do |line|
      name, value = line[/\A[^;]+/].split("=", 2)
      line.include?("max-age=0") ? @jar.delete(name) : @jar[name] = value
    end
    response
  end

  def id_of(response)
    response.body[/<body data-socket-connection-id="(\h{64})"/, 1]
  end

  def page(body, headers = {}, status = 200)
    ->(_) { [status, { "Content-Type" => "text/html" }.merge(headers), body] }
  end

  it "writes an id into the body tag of a page, and into nothing else: P-01, P-03" do
    response = visit(&page([html]))
    expect(response.body).to match(%r{</head><body#{attribute} class="a">x})
    expect(response.body.sub(attribute, "")).to eq(html)
  end

  it "has a new id for each request, and one key for a session: P-02" do
    keys = []
    application = lambda do |env|
      described_class.socket(env).digest
      keys << env["rack.session"][:socket_key]
      page([html]).call(env)
    end
    ids = Array.new(3) { id_of(visit(&application)) }
    expect(ids.uniq.size).to eq(3)
    # The browser client recognizes the session, whose key they do not show.
    expect(ids.map { |id| id[0, 8] }.uniq).to eq([Digest::SHA256.hexdigest("nodevent:session:#{keys.first}")[0, 8]])
    expect([keys.uniq.size, keys.first]).to match([1, /\A\h{64}\z/])
    @jar.clear
    visit(&application)
    expect(keys.uniq.size).to eq(2)
  end

  it "keeps the id that a request names, and nothing that is not an id: P-02, P-15" do
    id = "b" * 64
    form = { method: "POST", params: { socket_connection_id: id } }
    expect(id_of(visit("/?socket_connection_id=#{id}", &page([html])))).to eq(id)
    expect(id_of(visit("/", form, &page([html])))).to eq(id)
    expect(id_of(visit("/", { "HTTP_X_SOCKET_CONNECTION_ID" => id }, &page([html])))).to eq(id)
    ["%22%3E%3Cscript%3E", "", id.upcase, "#{id}%0A", "b" * 63, "b" * 65, "%FF"].each do |bad|
      expect(id_of(visit("/?socket_connection_id=#{bad}", &page([html])))).to match(/\A(?!b{64}\z)\h{64}\z/)
    end
    # What Rack cannot read is the application's concern.
    ["socket_connection_id[]=#{id}", "socket_connection_id=%", "a=1&a[b]=2&socket_connection_id=#{id}"].each do |query|
      expect(id_of(visit("/", { "QUERY_STRING" => query }, &page([html])))).to match(/\A(?!b{64}\z)\h{64}\z/)
    end
    # The server's header, without its signature.
    forged = { "HTTP_X_NODEVENT_CONNECTION" => id, "HTTP_X_NODEVENT_NAMESPACE" => "/live", "HTTP_X_NODEVENT_SIGNATURE" => "t=1,v1=#{'0' * 64}" }
    expect(id_of(visit("/", forged, &page([html])))).not_to eq(id)
  end

  it "takes the key from the session only: P-15" do
    digest = nil
    application = lambda do |env|
      digest = described_class.socket(env).digest
      page([html]).call(env)
    end
    id = "b" * 64
    key = "a" * 64
    visit("/?socket_connection_id=#{id}&socket_key=#{key}", { method: "POST", params: { socket_key: key } }, &application)
    own = @jar["nodevent_page"].split(".")[1]
    expect(own).not_to eq(key)
    expect(digest).to eq(described_class::Identity.digest(own, id))
    # Nor from the mirrored cookie.
    @jar = { "nodevent_page" => described_class::KeyCookie.value(secret, "/live", key, Time.now.to_i + 500_000) }
    visit("/?socket_connection_id=#{id}", &application)
    expect(digest).not_to eq(described_class::Identity.digest(key, id))
  end

  it "changes pages in several parts, in capitals, frozen, and in other encodings: P-01, P-03" do
    parts = ["<HTML><BO", "DY>caf\u00e9", "</BODY>"].map(&:freeze).freeze
    response = visit(&page(parts, { "Content-Length" => parts.sum(&:bytesize).to_s }.freeze))
    expect(response.body.b.sub(attribute, "")).to eq(parts.join.b)
    expect(response.headers["Content-Length"]).to eq(response.body.bytesize.to_s)
    latin = "<body>\xE4\xFF".dup.force_encoding(Encoding::ISO_8859_1).freeze
    expect(visit(&page([latin])).body.b.sub(attribute, "")).to eq(latin.b)
    mixed = ["<body>\u00e9", "\xE4".b]
    expect(visit(&page(mixed)).body.b.sub(attribute, "")).to eq(mixed.map(&:b).join)
    proxied = Rack::BodyProxy.new([html]) { @closed = true }
    expect(visit(&page(proxied)).body.sub(attribute, "")).to eq(html)
    expect(@closed).to be(true)
  end

  it "has a right Content-Length and ETag, and is not stored: P-03" do
    headers = { "Content-Length" => html.bytesize.to_s, "ETag" => 'W/"that of the page without its id"', "Last-Modified" => Time.now.httpdate,
                "Cache-Control" => "public, max-age=3600", "Surrogate-Control" => "max-age=60", "CDN-Cache-Control" => "max-age=60" }
    response = visit(&page([html], headers))
    expect(response.headers["Content-Length"]).to eq(response.body.bytesize.to_s)
    # Rack::ETag is outside, and computes it from what is sent.
    expect(response.headers["ETag"]).to eq(%(W/"#{Digest::SHA256.hexdigest(response.body)[0, 32]}"))
    expect(response.headers["Last-Modified"]).to be_nil
    expect(response.headers["Cache-Control"]).to eq("private, no-store")
    expect(response.headers.keys.grep(/\Acache-control\z/i).size).to eq(1)
    expect(response.headers["Content-Type"]).to eq("text/html")
    expect(response.headers.keys.grep(/surrogate|cdn/i)).to eq([])
  end

  # A body that is not complete, or that says where it ends in its own way.
  stream = Struct.new(:parts) do
    def each(&block) = parts.each(&block)
  end
  file = Struct.new(:to_path) do
    def each = yield(File.read(to_path))
  end
  gzip = Zlib.gzip(html)
  unchanged = {
    "streamed" => [stream.new([html])],
    "an enumerator" => [[html].each],
    "compressed" => [[gzip], { "Content-Encoding" => "gzip" }],
    "chunked by the application" => [["5\r\n<body"], { "Transfer-Encoding" => "chunked" }],
    "a file" => [file.new(__FILE__)],
    "empty" => [[]],
    "of an empty text" => [[""]],
    "text" => [[html], { "Content-Type" => "text/plain" }],
    "JSON" => [[html.to_s], { "Content-Type" => "application/json" }],
    "of a type that begins alike" => [[html], { "Content-Type" => "text/html-sandboxed" }],
    "a download" => [[html], { "Content-Disposition" => "attachment; filename=a.html" }],
    "a part" => [["<body>"], { "Content-Range" => "bytes 0-5/20" }, 206],
    "without a body tag" => [["<p>'<body'"]],
    "not modified" => [[], { "ETag" => '"a"' }, 304],
    "without content" => [[], {}, 204]
  }
  unchanged.each do |kind, (body, headers, status)|
    it "passes a response unchanged that is #{kind}: P-03" do
      sent = page(body, { "Cache-Control" => "public, max-age=60" }.merge(headers || {}), status || 200)
      middleware = described_class.new(sent)
      response = middleware.call("REQUEST_METHOD" => "GET", "PATH_INFO" => "/", "rack.session" => {})
      parts = []
      response.last.each { |part| parts << part }
      original = []
      body.each { |part| original << part }
      expect([response[0], response[1], parts]).to eq([status || 200, sent.call(nil)[1], original])
    end
  end

  it "passes a response to HEAD unchanged, and those of bodies that are read lazily: P-03" do
    env = { "REQUEST_METHOD" => "HEAD", "PATH_INFO" => "/", "rack.session" => {} }
    sent = [200, { "Content-Type" => "text/html", "Content-Length" => "7" }, [html]]
    expect(described_class.new(->(_) { sent }).call(env)).to eq(sent)
    read = 0
    lazy = Enumerator.new { |parts| parts << html.dup.tap { read += 1 } }
    _, _, body = described_class.new(page(lazy)).call("REQUEST_METHOD" => "GET", "PATH_INFO" => "/", "rack.session" => {})
    expect([body.equal?(lazy), read]).to eq([true, 0])
  end

  it "mirrors the key in a cookie that scripts cannot read, and renews it: P-13, P-14" do
    first = visit(&page([html]))
    line = first.headers["Set-Cookie"].lines.grep(/nodevent_page/).first
    expect(line).to match(/HttpOnly/i).and match(/SameSite=Lax/i).and match(%r{path=/(;|\n)}).and(satisfy { |text| !text.match?(/secure/i) })
    expect(visit(&page([html])).headers["Set-Cookie"].to_s).not_to include("nodevent_page")
    version, key, expires, = @jar["nodevent_page"].split(".")
    expect([version, expires.to_i]).to match(["1", be_within(60).of(Time.now.to_i + (7 * 86_400))])
    # Almost expired; forged; that of another session.
    [described_class::KeyCookie.value(secret, "/live", key, Time.now.to_i + (5 * 86_400)),
     "#{@jar['nodevent_page']}0", described_class::KeyCookie.value(secret, "/live", "c" * 64, Time.now.to_i + 600_000), "x"].each do |old|
      @jar["nodevent_page"] = old
      expect(visit(&page([html])).headers["Set-Cookie"]).to include("nodevent_page=1.#{key}.")
    end
    secure = visit("https://example.org/", &page([html])).headers["Set-Cookie"]
    # The session of Rack 3 renews its own cookie.
    expect(secure.to_s).not_to include("nodevent_page")
    @jar.delete("nodevent_page")
    expect(visit("https://example.org/", &page([html])).headers["Set-Cookie"]).to match(/nodevent_page=.*; secure/i)
  end

  it "writes no cookie into a response that caches may share" do
    visit(&page([html]))
    @jar["nodevent_page"] = "x"
    reads = lambda do |control|
      lambda do |env|
        described_class.socket(env).digest
        [200, { "Content-Type" => "application/json", "Cache-Control" => control }, ["{}"]]
      end
    end
    ["public, max-age=3600", "s-maxage=5"].each do |control|
      expect(visit(&reads.call(control)).headers["Set-Cookie"].to_s).not_to include("nodevent_page")
    end
    expect(visit(&reads.call("private")).headers["Set-Cookie"]).to include("nodevent_page=1.")
  end

  it "ends the cookie with the session, and changes it with its key: P-13" do
    visit(&page([html]))
    expect(@jar).to include("nodevent_page")
    visit(&->(env) { [302, { "Location" => "/" }, []].tap { env["rack.session"].clear } })
    expect(@jar).not_to include("nodevent_page")
    old = visit(&page([html])) && @jar["nodevent_page"]
    change = lambda do |env|
      env["rack.session"].clear
      described_class.socket(env).digest
      [200, { "Content-Type" => "text/plain" }, ["signed in"]]
    end
    visit(&change)
    expect(@jar["nodevent_page"]).to match(/\A1\.\h{64}\./).and(satisfy { |value| value != old })
    # A response that is no page creates neither a session nor a cookie.
    @jar.clear
    expect(visit(&page(["{}"], "Content-Type" => "application/json")).headers["Set-Cookie"]).to be_nil
  end

  it "says what is missing: a session, a configuration, the middleware" do
    without_session = described_class.new(page([html]))
    expect { without_session.call("REQUEST_METHOD" => "GET", "PATH_INFO" => "/") }
      .to raise_error(NoDevent::ConfigurationError, /needs a session; write `use Rack::Session::Cookie/)
    expect { described_class.socket({}) }.to raise_error(NoDevent::ConfigurationError, /write `use NoDevent::Realtime`/)
    NoDevent::Emitter.config = {}
    expect { visit(&page([html])) }.to raise_error(NoDevent::ConfigurationError, /no namespace has `pages`/)
  end

  # Calls of pages that are connected over Socket.IO.
  it "recognizes calls also without pages, and gives no ids then: P-17" do
    calls = { "url" => "http://127.0.0.1:3000", "secret" => secret }
    NoDevent::Emitter.config = { "/nodevent" => { "open" => true, "calls" => calls } }
    application = ->(env) { page(["<body>#{Rack::Request.new(env).socket?}"]).call(env) }
    signature = described_class::SignedRequest.sign(secret, Time.now.to_i, ["/nodevent", "GET", "/", "opaque", "", ""])
    headers = { "HTTP_COOKIE" => "", "HTTP_X_NODEVENT_SIGNATURE" => signature, "HTTP_X_NODEVENT_NAMESPACE" => "/nodevent",
                "HTTP_X_NODEVENT_CONNECTION" => "opaque" }
    expect([visit("/", headers, &application).body, visit("/", &application).body]).to eq(%w[<body>true <body>false])
  end

  it "does nothing if it is not enabled: P-17" do
    described_class.configure { |realtime| realtime.enabled = false }
    NoDevent::Emitter.config = {}
    seen = nil
    response = visit(&lambda do |env|
      seen = [described_class.socket(env).subscribe(:a), described_class.push(1, :a), described_class.socket(env).unsubscribe(:a)]
      page([html]).call(env)
    end)
    expect([response.body, seen, response.headers.key?("Set-Cookie")]).to eq([html, [nil, nil, nil], false])
  end

  it "does not print secrets" do
    config = described_class.settings.config
    expect([config.inspect, config.pages.inspect, config.pages.to_s, config.pages.to_h].join).not_to include(secret)
  end
end
