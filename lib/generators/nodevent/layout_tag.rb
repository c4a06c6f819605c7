# frozen_string_literal: true

module Nodevent
  module Generators
    # Adds a line to the head of the layout, in ERB, Haml and Slim.
    module LayoutTag
      LAYOUTS = %w[erb haml slim].map { |kind| "app/views/layouts/application.html.#{kind}" }.freeze

      private_constant :LAYOUTS

      private

      # @param helper [String] the name of the helper, by which a layout that has it is recognized
      # @param call [String] Ruby
      # @param after [String] what follows the tag in ERB
      def add_to_layout(helper, call, after: "")
        file = LAYOUTS.find { |name| File.exist?(path(name)) }
        tag = "<%= #{call} %>#{after}"
        return by_hand("there is no #{LAYOUTS.first}; add <%= #{call} %> to the head of your layouts") unless file
        return say_status(:identical, file, :blue) if read(file).include?(helper)

        changed = with_tag(read(file), File.extname(file), call, tag)
        return by_hand("#{file} has no head; add <%= #{call} %> where your pages load scripts") unless changed

        say_status :insert, file
        File.binwrite(path(file), changed) unless options[:pretend]
      end

      # The text with what {add_to_layout} has added with `after` removed.
      def remove_from_layout(after)
        file = LAYOUTS.first
        return unless File.exist?(path(file)) && read(file).include?(after)

        say_status :subtract, file
        tag = "<%= [^%]* %>#{Regexp.escape(after)}"
        changed = read(file).gsub(/^[ \t]*#{tag}\r?\n|#{tag}/, "")
        File.binwrite(path(file), changed) unless options[:pretend]
      end

      def path(name)
        File.expand_path(name, destination_root)
      end

      def read(name)
        File.binread(path(name)).force_encoding(Encoding::UTF_8)
      end

      def line?(file, pattern)
        File.exist?(path(file)) && read(file).match?(pattern)
      end

      def append(file, line)
        text = read(file)
        append_to_file file, text.empty? || text.end_with?("\n") ? line : "\n#{line}"
      end

      def by_hand(message)
        say_status :skip, message, :yellow
      end

      def with_tag(text, kind, call, tag)
        case kind
        when ".erb" then with_erb_tag(text, tag)
        when ".haml" then with_indented_tag(text, /^([ \t]*)%head\b[^\r\n]*/, call)
        else with_indented_tag(text, /^([ \t]*)head\b[^\r\n]*/, call)
        end
      end

      # Before `</head>`, wherever in its line that is.
      def with_erb_tag(text, tag)
        head = text.index(%r{</head\s*>}i) or return

        before = text[0...head]
        newline = text.include?("\r\n") ? "\r\n" : "\n"
        indent = before[/(?<=\A|\n)[ \t]*\z/]
        return "#{before}#{tag}#{text[head..]}" unless indent

        "#{before.delete_suffix(indent)}#{indent}  #{tag}#{newline}#{indent}#{text[head..]}"
      end

      # As the first child, because children are recognized by their indentation.
      def with_indented_tag(text, head, call)
        match = text.match(head) or return

        newline = text.include?("\r\n") ? "\r\n" : "\n"
        rest = match.post_match.delete_prefix(newline)
        child = rest[/\A([ \t]+)\S/, 1]
        indent = child && child.size > match[1].size ? child : "#{match[1]}  "
        "#{match.pre_match}#{match[0].chomp}#{newline}#{indent}= #{call}#{newline}#{rest}"
      end
    end
  end
end
