# frozen_string_literal: true

module NoDevent
  # Makes text safe for terminals, logs and errors: what servers, Redis, custom publishers, files and users wrote. All
  # that this gem prints passes through here. The server has the same rules in `protocol/src/text.rs`;
  # `protocol/vectors/text.json` tests both.
  # @api private
  module Text
    # The maximum length of one external text.
    #
    # # Units
    # Characters.
    MAX = 500
    # The maximum length of a line that contains external texts.
    #
    # # Units
    # Characters.
    MAX_LINE = 2000
    # The maximum length of a value in a line.
    #
    # # Units
    # Characters.
    MAX_VALUE = 60
    # Control characters, which drive terminals and forge lines, other line breaks, and invisible characters that change
    # the direction of text.
    UNSAFE = "\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb" \
             "\u{e0000}-\u{e007f}"
    GAPS = /[ #{UNSAFE}]+/
    # What may be a URL with a password. The `@` is no part of the pattern: a long word without one would be searched
    # from each letter again.
    WORD = /[^\s"]+/
    SCHEME = %r{[A-Za-z0-9+.-]://}

    private_constant :UNSAFE, :GAPS, :WORD, :SCHEME

    class << self
      # @param text [#to_s]
      # @return [String] one line without unsafe characters and passwords of URLs, of at most `max` characters
      def clean(text, max = MAX)
        # Four bytes per character at most; what follows is not even read.
        text = utf8(text.to_s.byteslice(0, 8 * max))
        shorten(without_userinfo(text.gsub(GAPS, " ")).strip, max)
      end

      # @param text [#to_s] a sentence of this gem that may contain external texts
      # @return see {clean}
      def line(text)
        clean(text, MAX_LINE)
      end

      # @param value [Object]
      # @return [String] the beginning of its `inspect`, which leaves some unsafe characters as they are
      def value(value)
        value = value.to_s[0, 2 * MAX_VALUE].to_sym if value.is_a?(Symbol)
        value = value.byteslice(0, 8 * MAX_VALUE).scrub if value.is_a?(String)
        clean(value.inspect, MAX_VALUE)
      end

      private

      def utf8(text)
        text.encode(Encoding::UTF_8, invalid: :replace, undef: :replace).scrub
      end

      # A password that is not escaped may contain `/` and `@`, so everything up to the last `@` is left out.
      def without_userinfo(text)
        return text unless text.include?("@")

        text.gsub(WORD) do |word|
          at = word.rindex("@")
          scheme = word.index(SCHEME) if at
          scheme && scheme + 4 <= at ? "#{word[0, scheme + 4]}…#{word[at..]}" : word
        end
      end

      def shorten(text, max)
        text.size > max ? "#{text[0, max].rstrip}…" : text
      end
    end
  end
end
