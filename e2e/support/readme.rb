# frozen_string_literal: true

module E2E
  # A section of the README as something to be done: its blocks of code, handed out in the order in which they stand.
  class Readme
    FILE = File.join(ROOT, "README.md")
    FENCE = /^ *```(\w*)\n(.*?)^ *```$/m

    def initialize(heading)
      @text = File.read(FILE)[/^## #{Regexp.escape(heading)}\n(.*?)(?=^## )/m, 1] or raise "the README has no section #{heading}"
      @blocks = @text.scan(FENCE).map { |language, text| [language, unindented(text)] }
    end

    # The next block, which must be of that language ("" for commands).
    def next(language)
      found, text = @blocks.shift
      raise "the README's next block is #{found.inspect}, not #{language.inspect}: #{text}" unless found == language

      text
    end

    # The files that a block of code names in comments of their own.
    def self.files(block)
      block.split(/^(?:#|<%#) (app\S+)(?: %>)?\n/).drop(1).each_slice(2).to_h
    end

    # The first piece of code within a line that looks so.
    def code(pattern)
      @text.gsub(FENCE, "").scan(/`([^`]+)`/m).flatten.find { |code| code.match?(pattern) } or raise "the README has no #{pattern}"
    end

    # Whether all has been done.
    def done?
      @blocks.empty?
    end

    private

    def unindented(text)
      text.gsub(/^#{text[/\A */]}/, "")
    end
  end
end
