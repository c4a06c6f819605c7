# frozen_string_literal: true

module Bench
  module Scale
    # Tables in Markdown, and numbers in them.
    module Tables
      private

      def table(title, head, rows)
        ["### #{title}", "", row(head), row(head.each_index.map { |index| index.zero? ? "---" : "---:" }),
         *rows.map { |cells| row(cells) }, ""].join("\n")
      end

      def row(cells)
        "| #{cells.join(' | ')} |"
      end

      def mean(values)
        values.sum / values.size
      end

      def slashed(values)
        values.map { |value| micro(value) }.join(" / ")
      end

      def micro(value)
        return "–" unless value

        value < 10 ? value.round(1).to_s : whole(value)
      end

      def whole(value)
        value.round.to_s.gsub(/(?<=\d)(?=(\d{3})+$)/, ",")
      end

      def percent(share)
        "#{(share * 100).round} %"
      end
    end
  end
end
