# frozen_string_literal: true

require "tmpdir"

# Issue 11, section D: one file, two readers, one meaning. The server's tests read the same vectors.
RSpec.describe "The vectors of configuration.json" do
  vectors = JSON.parse(File.read(File.join(ROOT, "protocol/vectors/configuration.json")))

  # What the gem says about each kind of error.
  let(:words) do
    { "empty" => /is empty/, "white_space" => /white space/, "not_text" => /is a (list|mapping)/, "tag" => /the tag `/,
      "anchor" => /an anchor contains itself/, "syntax" => /./, "variable_missing" => /requires the environment variable/,
      "variable_without_braces" => /without braces/, "variable_syntax" => /`\$\{/, "duplicate" => /is written twice/,
      "tab" => /a tab indents the line/, "documents" => /a second document/, "empty_file" => /the file is empty/,
      "not_a_map" => /not a mapping/, "erb" => /ERB/, "invisible" => /an invisible character/, "key" => /a key is not text/,
      "merge" => /`<<` does not refer to a map/, "unknown" => /did you mean `secret`/, "slash" => /without its slash/,
      "top" => /at the top of the file/, "contradiction" => /`open: true` too/, "section" => /the environment is/,
      "json" => /this is not JSON/ }
  end

  def configuration(text, json: false)
    Dir.mktmpdir do |folder|
      path = File.join(folder, json ? "c.json" : "c.yml")
      File.binwrite(path, text)
      with_environment("NODEVENT_ENV" => "development") { yield NoDevent::Configuration.load_file(path) }
    end
  end

  def with_environment(variables)
    before = variables.to_h { |name, _| [name, ENV.fetch(name, nil)] }
    variables.each { |name, value| ENV[name] = value }
    yield
  ensure
    before.each { |name, value| ENV[name] = value }
  end

  def values_of(settings)
    NoDevent::Configuration::Values.new(NoDevent::Configuration::Document.new(settings, "c.yml"), "/nodevent")
  end

  # What the block returns, or nil if the gem rejects it.
  def read(value)
    tree = NoDevent::Configuration::Tree.parse("key: #{value}\n/a: {}\n")
    values = values_of(tree)
    yield values, values.node("key")
  rescue NoDevent::ConfigurationError, NoDevent::Configuration::Tree::SyntaxError
    nil
  end

  it "are at least 200" do
    expect(vectors.values.grep(Array).sum(&:size)).to be >= 200
  end

  vectors["secrets"].each do |vector|
    name = vector["name"] || vector["value"] || vector["document"]
    it "agree on the secret #{name.inspect}" do
      text = vector["document"] || "/a:\n  secret: #{vector['value']}\n"
      secret = -> { configuration(text, json: vector["json"], &:secret) }
      next expect(secret.call).to eq(vector["text"]) unless vector["error"]

      place = [vector["line"], vector["column"]].compact.join(":")
      expect(&secret).to raise_error(NoDevent::ConfigurationError) { |error|
        expect(error.message).to match(words.fetch(vector["error"]))
        expect(error.message).to match(/c\.\w+:#{place}\b/) unless place.empty?
      }
    end
  end

  it "agree on numbers" do
    vectors["numbers"].each do |vector|
      number = read(vector["value"]) { |values, node| values.count("key", node, nil, 0..65_535) }
      expect([vector["value"], number]).to eq([vector["value"], vector["number"]])
    end
  end

  it "agree on flags" do
    vectors["flags"].each do |vector|
      expect([vector["value"], read(vector["value"]) { |values,| values.flag("key") }]).to eq([vector["value"], vector["flag"]])
    end
  end

  it "agree on durations" do
    vectors["durations"].each do |vector|
      seconds = read(vector["value"]) { |values, node| values.seconds("key", node, nil) }
      expect([vector["value"], seconds && (seconds * 1000).round]).to eq([vector["value"], vector["milliseconds"]])
    end
  end

  # The settings as the vectors write them.
  def shown(target, folder)
    kind = target[:kind].is_a?(Hash) ? "sentinel #{target[:kind][:sentinel]}" : target[:kind].to_s
    file = ->(path) { path.delete_prefix("#{folder}/") }
    { "hosts" => target[:hosts].map { |host, port| host.include?(":") ? "[#{host}]:#{port}" : "#{host}:#{port}" },
      "kind" => kind, "tls" => target[:tls], "db" => target[:db], "ca" => target[:ca]&.then(&file),
      "client" => target[:client]&.map(&file) }
      .merge(target.slice(:username, :password, :prefix, :sentinel_username, :sentinel_password).transform_keys(&:to_s))
      .compact
  end

  vectors["redis"].each do |vector|
    it "agree on redis: #{vector['value']}" do
      Dir.mktmpdir do |folder|
        %w[ca.pem cert.pem key.pem].each { |name| File.write(File.join(folder, name), "x") }
        { "password" => "from a file\n", "empty" => "\n", "lines" => "a\nb\n" }
          .each { |name, text| File.write(File.join(folder, name), text) }
        path = File.join(folder, "c.yml")
        File.write(path, "/a: {open: true, redis: #{vector['value']}}\n")
        load = -> { NoDevent::Configuration.load_file(path) }
        next expect(shown(load.call.redis_target, folder)).to eq(vector["target"]) unless vector["error"]

        expect(&load).to raise_error(NoDevent::ConfigurationError, /#{Regexp.escape(vector['error'])}/)
      end
    end
  end
end
