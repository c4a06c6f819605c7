# frozen_string_literal: true

require "open3"

# The code of a guide in docs/, by language and order, and pages that run its JavaScript.
class Guide
  # @param name [String] the file in docs/
  # @param section [String] the heading whose code is used
  def initialize(name, section = "A complete example")
    text = File.read(File.join(ROOT, "docs", name))[/^## #{Regexp.escape(section)}$.*?(?=^## |\z)/m]
    raise "docs/#{name} has no section #{section}" unless text

    @blocks = text.scan(/^( *)```(\w+)\n(.*?)^ *```/m).map do |indent, language, code|
      [language, code.gsub(/^#{indent}/, "")]
    end
  end

  # @return [String] a block of code
  def code(language, index = 0)
    @blocks.select { |name, _| name == language }.fetch(index).last
  end

  # @return [Hash] the configuration, with secrets for its variables
  def configuration(index = 0)
    written = code("yaml", index).gsub(/\$\{(\w+?)(?::-(.*?))?\}/) do
      Regexp.last_match(2) || "a-secret-for-#{Regexp.last_match(1)}-of-32-bytes"
    end
    YAML.safe_load(written)
  end

  # Runs JavaScript as a page that is connected to a server. `NoDevent` is the client, and `say(value)` makes a line.
  # @yieldparam page [Page]
  def self.page(url, script, **options)
    program = <<~JS
      import { connect } from "#{ROOT}/client/src/index.js";
      const say = (value) => console.log(JSON.stringify(value));
      const NoDevent = connect({ url: "#{url}", ...#{JSON.generate(options)} });
      #{script}
    JS
    Open3.popen2("node", "--input-type=module", "--eval", program, chdir: "#{ROOT}/client") do |_, out, thread|
      yield Page.new(out)
    ensure
      begin
        Process.kill(:KILL, thread.pid)
      rescue Errno::ESRCH
        # It has ended by itself.
      end
    end
  end

  # A page that runs.
  class Page
    def initialize(out)
      @out = out
    end

    # @return [Object] the next value that it says
    def next
      Timeout.timeout(60) { JSON.parse(@out.gets || raise("the page has ended")) }
    end
  end
end
