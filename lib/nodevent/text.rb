# frozen_string_literal: true

module NoDevent
  # Makes text from outside safe to log: errors of servers, of Redis and of custom publishers.
  # @api private
  module Text
    # The maximum length of one external text.
    #
    # # Units
    # Characters.
    MAX = 500
    # Control characters, line and paragraph separators, and characters that change the direction of text.
    UNSAFE = /[[:cntrl:]\u2028\u2029\u202a-\u202e\u2066-\u2069]+/
    # User and password of a URL, up to the last `@`: a password that is not escaped may contain `/` and `@`.
    USERINFO = %r{(\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s"]*@}

    private_constant :UNSAFE, :USERINFO

    class << self
      # @param text [#to_s]
      # @return [String] one line without control characters and passwords of URLs, of at most {MAX} characters
      def clean(text)
        # Four bytes per character at most; what follows is not even read.
        text = text.to_s.byteslice(0, 8 * MAX).encode(Encoding::UTF_8, invalid: :replace, undef: :replace).scrub
        text = text.gsub(UNSAFE, " ").gsub(USERINFO, '\1…@').strip
        text.size > MAX ? "#{text[0, MAX]}…" : text
      end
    end
  end
end
