# frozen_string_literal: true

require "strscan"

module NoDevent
  class Realtime
    # Finds the body tag of an HTML page, as a browser would: what looks like one in a comment, a script, a style, an
    # attribute or a template is not the body tag. Reads up to the tag only, in linear time, and knows nothing about
    # responses.
    # @api private
    class BodyTag
      # Elements whose contents are text. In `noscript` they are text for browsers that run scripts.
      TEXT_ELEMENTS = %w[style title textarea xmp iframe noembed noframes noscript].freeze
      TAG_NAME = %r{[A-Za-z][^\t\n\f\r />]*}
      # A browser ends a comment at each of these.
      COMMENT_END = /--!?>/
      NAME = %r{[\s/]*[^\s/>][^\s/>=]*}
      EQUALS = /\s*=\s*/
      # Only a value after `=` may be quoted.
      QUOTED = /"[^"]*"|'[^']*'/
      # What changes the state in a script.
      SCRIPT = %r{<!--|-->|</?script(?=[\t\n\f\r />])}i

      private_constant :TEXT_ELEMENTS, :TAG_NAME, :COMMENT_END, :NAME, :EQUALS, :QUOTED, :SCRIPT

      # @param html [String] in binary encoding
      # @return [Integer, nil] where an attribute of the body tag may be inserted; nil if there is no such tag
      def self.offset(html)
        new(html).offset
      end

      # @param html [String]
      def initialize(html)
        @scanner = StringScanner.new(html)
        @templates = 0
      end

      # @return see {BodyTag.offset}
      def offset
        while @scanner.skip_until(/</)
          if @scanner.skip(/!--/) then skip_comment
          elsif @scanner.skip(%r{[!?]|/(?![A-Za-z])}) then @scanner.skip_until(/>/) || @scanner.terminate
          elsif @scanner.skip(%r{/}) then close_tag
          elsif (name = @scanner.scan(TAG_NAME))
            found = open_tag(name.downcase)
            return found if found
          end
        end
      end

      private

      # `<!-->` and `<!--->` are complete comments.
      def skip_comment
        @scanner.skip(/-?>/) || @scanner.skip_until(COMMENT_END) || @scanner.terminate
      end

      def close_tag
        name = @scanner.scan(TAG_NAME)
        @templates -= 1 if name.casecmp?("template") && @templates.positive?
        skip_attributes
      end

      # @return [Integer, nil] the end of the name, if it is the body tag
      def open_tag(name)
        after_name = @scanner.pos
        # A tag that does not end is not a tag.
        return unless skip_attributes
        return after_name if name == "body" && @templates.zero?

        skip_contents(name)
      end

      def skip_contents(name)
        case name
        when "template" then @templates += 1
        when "script" then skip_script
        when "plaintext" then @scanner.terminate
        when *TEXT_ELEMENTS then @scanner.skip_until(%r{(?=</#{name}[\t\n\f\r />])}i) || @scanner.terminate
        end
        nil
      end

      # @return [Boolean] whether the tag ends
      def skip_attributes
        (return unfinished unless skip_value) while @scanner.skip(NAME)
        @scanner.skip(%r{[\s/]*>}) ? true : unfinished
      end

      def unfinished
        @scanner.terminate
        false
      end

      # @return [Boolean] whether the value ends, or there is none
      def skip_value
        return true unless @scanner.skip(EQUALS)
        return @scanner.skip(QUOTED) || false if @scanner.check(/["']/)

        @scanner.skip(/[^\s>]+/)
        true
      end

      # In `<!-- <script>`, the next `</script>` does not end the element.
      def skip_script
        state = :text
        while @scanner.skip_until(SCRIPT)
          case @scanner.matched.downcase
          when "<!--"
            state = :comment if state == :text
            # `<!-->` ends the comment that it begins.
            @scanner.pos -= 2
          when "-->" then state = :text
          when "<script" then state = :script if state == :comment
          else
            return @scanner.pos -= "</script".size unless state == :script

            state = :comment
          end
        end
        @scanner.terminate
      end
    end
  end
end
