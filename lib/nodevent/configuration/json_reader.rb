# frozen_string_literal: true

require "json"
require "strscan"

module NoDevent
  class Configuration
    module Tree
      # Reads JSON with locations. Numbers stay as they are written, and a key may not occur twice.
      class JSONReader
        SPACE = /[ \t\r\n]*/
        STRING = %r{"(?:[^"\\\u0000-\u001F]|\\(?:["\\/bfnrt]|u\h{4}))*"}
        LITERAL = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/
        MAX_DEPTH = 32

        private_constant :SPACE, :STRING, :LITERAL, :MAX_DEPTH

        # @param text [String]
        def initialize(text)
          @scanner = StringScanner.new(text)
        end

        # @return [Node]
        # @raise [SyntaxError]
        def read
          root = value(0)
          skip
          @scanner.eos? ? root : unexpected
        end

        private

        def value(depth)
          skip
          unexpected if depth > MAX_DEPTH
          location = self.location
          content = case @scanner.peek(1)
                    when "{" then object(depth)
                    when "[" then array(depth)
                    when '"' then string
                    else literal
                    end
          Node.new(value: content, **location)
        end

        def object(depth)
          entries = {}
          list("{", "}") do
            skip
            location = self.location
            name = string
            if entries.key?(name)
              raise SyntaxError.new("the key `#{Tree.shown_key(name)}` is written twice", *location.values)
            end

            skip
            expect(":")
            entries[name] = value(depth + 1).tap { |node| node.key = location }
          end
          entries
        end

        def array(depth)
          values = []
          list("[", "]") { values << value(depth + 1) }
          values
        end

        def list(first, last)
          expect(first)
          skip
          return if @scanner.skip(/#{Regexp.escape(last)}/)

          loop do
            yield
            skip
            break if @scanner.skip(/#{Regexp.escape(last)}/)

            expect(",")
          end
        end

        def string
          location = self.location
          token = @scanner.scan(STRING) or unexpected
          text = JSON.parse("[#{token}]").first
          text.valid_encoding? ? text : half_a_pair(location)
        rescue JSON::ParserError
          # Without its message, which contains the text.
          half_a_pair(location)
        end

        def half_a_pair(location)
          raise SyntaxError.new("this is not JSON: half a surrogate pair", *location.values)
        end

        def literal
          token = @scanner.scan(LITERAL)
          unexpected if token.nil? || @scanner.check(/[\w.+-]/)
          token == "null" ? nil : token
        end

        def skip
          @scanner.skip(SPACE)
        end

        def expect(mark)
          @scanner.skip(/#{Regexp.escape(mark)}/) || unexpected
        end

        def location
          before = @scanner.string.byteslice(0, @scanner.pos)
          { line: before.count("\n") + 1, column: before[/[^\n]*\z/].size + 1 }
        end

        def unexpected
          found = @scanner.eos? ? "end" : @scanner.rest[0].inspect
          raise SyntaxError.new("this is not JSON: unexpected #{found}; look " \
                                "for a missing comma or quote before it", *location.values)
        end
      end
    end
  end
end
