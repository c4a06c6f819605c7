# frozen_string_literal: true

module Bench
  module Scale
    # The tables of `docs/scaling.md`, which are those of a kept run: what is between `<!-- bench/scale: name -->` and
    # `<!-- end -->` is generated.
    class Guide
      SECTION = %r{(<!-- bench/scale: (\w+) -->\n).*?(<!-- end -->)}m

      # @param name [String] the name of the kept run, without its extension
      def initialize(page, name)
        @page = page
        @name = name
      end

      # @return [String] the text with new tables
      def update(text)
        text.gsub(SECTION) { "#{Regexp.last_match(1)}#{section(Regexp.last_match(2)).strip}\n#{Regexp.last_match(3)}" }
      end

      private

      def section(name)
        return "Measured: [#{@name}](../bench/runs/#{@name}.md)." if name == "source"

        # The guide has headings of its own.
        @page.section(name).sub(/\A### .*?\n/, "")
      end
    end
  end
end
