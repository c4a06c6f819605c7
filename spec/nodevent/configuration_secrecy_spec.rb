# frozen_string_literal: true

require "tmpdir"

# Issue 12, number 9: no message about a configuration contains a value, because any may be a secret in the wrong place.
# A recognisable secret takes the place of the value of every key, in every form that people write by mistake. The
# server's test is `server/src/config/hidden_values.rs`.
RSpec.describe "A secret in the wrong place of a configuration" do
  # Where each key is, by the lines above it.
  keys = {
    "" => %w[public_url host url secret secret_file secrets publish_key publish_key_file open bound_keys max_key_lifetime redis history
             channel_per_room limits publisher],
    "/a:" => %w[secret secret_file secrets publish_key publish_key_file open bound_keys max_key_lifetime redis history channel_per_room],
    "/a:\n  secrets:\n    -" => %w[id secret secret_file],
    "/a:\n  redis:" => %w[url host port db username password password_file prefix tls ssl sentinel cluster options path unknown],
    "/a:\n  redis:\n    ssl:" => %w[ca cert key verify],
    "/a:\n  redis:\n    sentinel:" => %w[hosts name username password],
    "/a:\n  pages:" => %w[secret secret_file cookie],
    "/a:\n  calls:" => %w[url secret secret_file handlers],
    "/a:\n  history:" => %w[size age rooms],
    "/a:\n  history:\n    rooms:\n      Chat_:" => %w[size age],
    "limits:" => %w[max_publish_size max_room_name],
    "publisher:" => %w[queue queue_bytes timeout shutdown_timeout unknown]
  }
  values = ["sesame7Q", '"sesame7Q"', "'sesame7Q'", '"sesame7Q', "'sesame7Q", "!sesame7Q", "!sesame7Q x", "!!sesame7Q x", "!<sesame7Q> x",
            "!sesame7Q!x y", "*sesame7Q", "&sesame7Q", "&sesame7Q *sesame7Q", "@sesame7Q", "`sesame7Q", "%sesame7Q", "[sesame7Q]",
            "[sesame7Q", "[[sesame7Q]]", "[{sesame7Q: 1}]", "{sesame7Q}", "{sesame7Q: 1}", "{sesame7Q: 1, sesame7Q: 2}", "{sesame7Q",
            "{sesame7Q: '${'}", "sesame7Q: 1", "sesame7Q: sesame7Q: 1", "| sesame7Q", "|\n  sesame7Q\n  sesame7Q", "- sesame7Q",
            "? sesame7Q", "$sesame7Q", "${sesame7Q", "${sesame7Q-x}", "${SURELY_NOT_SET:-sesame7Q}", "<%= sesame7Q %>", '"sesame7Q\q"',
            "redis://:sesame7Q@h:1/0", "redis://me:12?sesame7Q@h", "redis://h?sesame7Q=1", "http://me:sesame7Q@h/x", "http://me:se/sesame7Q@h",
            "12 sesame7Q", "{url: 'redis://:sesame7Q@h:port'}", "{ssl: {sesame7Q: 1}}", "{sentinel: {hosts: [':sesame7Q@h']}}"]
  lines = ["KEY:sesame7Q", "KEY:sesame7Q:", "KEY=sesame7Q", "KEY sesame7Q: x", "sesame7Q: KEY", "sesame7Q:", "sesame7Q: {secret: x}", "sesame7Q",
           "KEY: 1\nKEY: sesame7Q", "\tKEY: sesame7Q"]

  # Everything that is printed while the block's configuration is read and used.
  def printed
    config = yield
    uses = %i[public_url secret redis url publish_key publisher history key_rules channel_per_room? max_publish_size max_room_name
              redis_target publishes_over_http? namespaces pages calls]
    texts = uses.map do |use|
      config.public_send(use)
      ""
    rescue NoDevent::ConfigurationError => e
      e.message
    end
    [*texts, config.inspect, @log.string].join("\n")
  rescue NoDevent::ConfigurationError => e
    e.message
  end

  def expect_hidden(what, printed)
    expect(printed).not_to include("sesame"), "#{what}\nis printed as\n#{printed}"
  end

  keys.each do |above, names|
    it "is not printed, in a file, below #{above.inspect}" do
      indent = above.empty? ? "" : " " * (above.lines.last[/\A */].size + 2)
      Dir.mktmpdir do |folder|
        path = File.join(folder, "c.yml")
        names.each do |name|
          (values.map { |value| "#{name}: #{value}" } + lines.map { |line| line.gsub("KEY", name) }).each do |line|
            text = "#{above}\n#{line.gsub(/^/, indent)}\n"
            File.write(path, text)
            expect_hidden(text, printed { NoDevent::Configuration.load_file(path) })
          end
        end
      end
    end
  end

  it "is not printed if the configuration is JSON" do
    forms = ['"sesame7Q"', "sesame7Q", '"sesame7Q', '["sesame7Q", "redis://:sesame7Q@h"]', '{"sesame7Q": 1}', '{"sesame7Q": 1, "sesame7Q": 1}',
             '"sesame7Q\ud800"', '1, "sesame7Q": null', "1 sesame7Q"]
    Dir.mktmpdir do |folder|
      path = File.join(folder, "c.json")
      keys.values.flatten.uniq.product(forms).each do |name, form|
        [%({"#{name}": #{form}}), %({"/a": {"#{name}": #{form}}})].each do |text|
          File.write(path, text)
          expect_hidden(text, printed { NoDevent::Configuration.load_file(path) })
        end
      end
    end
  end

  it "is not printed if the configuration is set in Ruby" do
    forms = ["sesame7Q", :sesame7Q, "redis://:sesame7Q@h:port", "http://me:sesame7Q@h", ["sesame7Q"], [["sesame7Q"]], { sesame7Q: 1 },
             { "sesame7Q" => "sesame7Q" }, { url: "redis://:sesame7Q@h:port" }, { host: ":sesame7Q@h" }, { "ssl" => { sesame7Q: 1 } }]
    nested = %w[redis publisher limits history].to_h { |name| [name, keys.find { |above, _| above.end_with?("#{name}:") }.last] }
    keys[""].product(forms).each { |name, form| expect_hidden([name, form], printed { NoDevent::Configuration.from(name => form) }) }
    nested.each do |name, below|
      below.product(forms).each { |key, form| expect_hidden([name, key, form], printed { NoDevent::Configuration.from(name => { key => form }) }) }
    end
  end
end
