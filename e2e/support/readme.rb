# frozen_string_literal: true

module E2E
  # A section of the README, or of another document: returns its code blocks in order.
  class Readme
    FILE = File.join(ROOT, "README.md")
    FENCE = /^ *```(\w*)\n(.*?)^ *```$/m

    def initialize(heading, file: FILE)
      @text = File.read(file)[/^## #{Regexp.escape(heading)}\n(.*?)(?=^## )/m, 1] or raise "#{file} has no section #{heading}"
      @blocks = @text.scan(FENCE).map { |language, text| [language, unindented(text)] }
    end

    # The next block, which must have this language ("" for commands).
    def next(language)
      found, text = @blocks.shift
      raise "the README's next block is #{found.inspect}, not #{language.inspect}: #{text}" unless found == language

      text
    end

    # The files in a code block, each after a comment with its path.
    def self.files(block)
      block.split(/^(?:#|<%#) (app\S+)(?: %>)?\n/).drop(1).each_slice(2).to_h
    end

    # The first inline code that matches.
    def code(pattern)
      @text.gsub(FENCE, "").scan(/`([^`]+)`/m).flatten.find { |code| code.match?(pattern) } or raise "the README has no #{pattern}"
    end

    # The block of this language that matches.
    def block(language, pattern)
      @blocks.find { |found, text| found == language && text.match?(pattern) }&.last or raise "there is no block #{pattern}"
    end

    # Whether all blocks were used.
    def done?
      @blocks.empty?
    end

    private

    def unindented(text)
      text.gsub(/^#{text[/\A */]}/, "")
    end
  end
end
