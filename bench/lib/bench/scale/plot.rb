# frozen_string_literal: true

require "cgi"

module Bench
  module Scale
    # How many publications per second one Redis carries, by the number of servers, and what each server pays for one.
    # Lines are the formula, dots the measurement. Both scales are logarithmic.
    class Plot
      WIDTH = 720
      HEIGHT = 250
      LEFT = 90
      RIGHT = 700
      FONT = 'font-family="sans-serif" font-size="12"'
      SERVERS = [1, 2, 4, 10, 20, 50, 100].freeze
      COLORS = { "one" => "#c0392b", "per_room" => "#2471a3" }.freeze
      NAMES = { "one" => "one channel", "per_room" => "a channel per room" }.freeze

      def initialize(costs)
        @costs = costs
      end

      def to_s
        <<~SVG
          <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 #{WIDTH} #{(2 * HEIGHT) + 40}" #{FONT}>
          <rect width="100%" height="100%" fill="#fff"/>
          #{panel(0, 'CPU time of a publication in one Redis, µs; rooms of one member', 10..1000, :node, :redis_cost)}
          #{panel(HEIGHT, 'CPU time of a publication at each server, µs', 0.1..100, :server, :server_cost)}
          #{legend}</svg>
        SVG
      end

      private

      def panel(top, title, range, figure, measured)
        lines = COLORS.keys.map { |channel| line(top, range, channel, figure) + dots(top, range, channel, measured) }
        %(<text x="#{LEFT}" y="#{top + 22}">#{CGI.escapeHTML(title)}</text>\n) + grid(top, range) + lines.join
      end

      def grid(top, range)
        decades = (Math.log10(range.begin).round..Math.log10(range.end).round).map { |power| 10.0**power }
        rows = decades.map do |value|
          y = y(top, range, value)
          label = value < 1 ? value.to_s : value.to_i.to_s
          %(<text x="#{LEFT - 8}" y="#{y + 4}" text-anchor="end">#{label}</text>) +
            %(<line x1="#{LEFT}" x2="#{RIGHT}" y1="#{y}" y2="#{y}" stroke="#ddd"/>\n)
        end
        columns = SERVERS.map do |servers|
          %(<text x="#{x(servers)}" y="#{top + HEIGHT - 2}" text-anchor="middle">#{servers}</text>\n)
        end
        rows.join + columns.join
      end

      def line(top, range, channel, figure)
        points = SERVERS.map do |servers|
          one = Estimate.new(@costs.of("single", channel), channel: channel, nodes: 1, servers: servers, members: 1)
          "#{x(servers)},#{y(top, range, one.public_send(figure))}"
        end
        %(<polyline points="#{points.join(' ')}" fill="none" stroke="#{COLORS.fetch(channel)}" stroke-width="2"/>\n)
      end

      def dots(top, range, channel, measured)
        alone = @costs.of_setting("single", channel).select { |one| one.together == 1 }
        alone.map do |sample|
          %(<circle cx="#{x(sample.servers)}" cy="#{y(top, range, sample.public_send(measured))}" r="4" ) +
            %(fill="#{COLORS.fetch(channel)}"/>\n)
        end.join
      end

      def legend
        y = (2 * HEIGHT) + 28
        entries = NAMES.each_with_index.map do |(channel, name), index|
          left = LEFT + (index * 180)
          %(<rect x="#{left}" y="#{y - 10}" width="20" height="10" fill="#{COLORS.fetch(channel)}"/>) +
            %(<text x="#{left + 26}" y="#{y}">#{name}</text>\n)
        end
        entries.join + %(<text x="#{RIGHT}" y="#{y}" text-anchor="end">servers; dots are measured</text>\n)
      end

      def x(servers)
        (LEFT + 10 + (Math.log10(servers) / 2 * (RIGHT - LEFT - 20))).round(1)
      end

      def y(top, range, value)
        share = Math.log10(value.clamp(range.begin, range.end) / range.begin) / Math.log10(range.end / range.begin.to_f)
        (top + HEIGHT - 20 - (share * (HEIGHT - 60))).round(1)
      end
    end
  end
end
