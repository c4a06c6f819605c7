# frozen_string_literal: true

require "tmpdir"

# Issue 11, section D: one file, two readers, one meaning. The server's tests read the same vectors.
RSpec.describe "The vectors of configuration.json" do
  vectors = JSON.parse(File.read(File.join(ROOT, "protocol/vectors/configuration.json")))

  # The content of the file as the gem reads it.
  def content(text, format, environment)
    Dir.mktmpdir do |folder|
      path = File.join(folder, "nodevent.#{format == 'json' ? 'json' : 'yml'}")
      File.binwrite(path, text)
      with_environment(environment.merge("NODEVENT_ENV" => "test")) do
        document = NoDevent::Configuration::Document.read(path)
        document.top.to_h do |key, node|
          [key, NoDevent::Configuration::Tree.unwrap(document.interpolate(node, key))]
        end
      end
    end
  end

  def with_environment(variables)
    before = variables.to_h { |name, _| [name, ENV.fetch(name, nil)] }
    variables.each { |name, value| ENV[name] = value }
    yield
  ensure
    before.each { |name, value| ENV[name] = value }
  end

  def rejection(...)
    content(...)
    nil
  rescue NoDevent::ConfigurationError => e
    e.message
  end

  it "has at least 100 texts" do
    expect(vectors["texts"].map { |each| each["name"] }.uniq.size).to be >= 100
  end

  vectors["texts"].each do |vector|
    it "agrees on #{vector['name']}" do
      arguments = vector.values_at("text", "format") << vector.fetch("environment", {})
      next expect(content(*arguments)).to eq(vector["expect"]) unless vector.key?("error")

      line = vector["error"]["line"]
      expect(rejection(*arguments)).to match(line ? /nodevent\.\w+:#{line}\b/ : /nodevent\.\w+/)
    end
  end

  describe "values" do
    let(:values) { NoDevent::Configuration::Values.new(NoDevent::Configuration::Document.from_hash({}), "/nodevent") }

    def node(text)
      NoDevent::Configuration::Tree::Node.new(value: text)
    end

    def read
      yield
    rescue NoDevent::ConfigurationError
      nil
    end

    it "agree on durations, sizes, flags and counts" do
      vectors["values"]["duration"].each do |text, milliseconds|
        seconds = read { values.seconds("key", node(text), nil) }
        expect([text, seconds && (seconds * 1000).round]).to eq([text, milliseconds])
      end
      vectors["values"]["size"].each do |text, bytes|
        expect([text, read { values.size("key", node(text), nil) }]).to eq([text, bytes])
      end
      vectors["values"]["count"].each do |text, number|
        expect([text, read { values.count("key", node(text), nil) }]).to eq([text, number])
      end
      vectors["values"]["flag"].each do |text, flag|
        document = NoDevent::Configuration::Document.from_hash("key" => text)
        expect([text, read { NoDevent::Configuration::Values.new(document, "/n").flag("key") }]).to eq([text, flag])
      end
    end
  end
end
