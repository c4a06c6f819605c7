# frozen_string_literal: true

require "cgi"

module Bench
  # Results as an SVG: a panel per figure, with a bar and a number per server. The scales are logarithmic because the
  # servers differ by orders of magnitude.
  class Plot
    Panel = Struct.new(:title, :scenario, :figure, :unit)
    PANELS = [
      Panel.new("Steady: CPU per delivery", "steady", :cpu, "µs"),
      Panel.new("Burst: CPU per delivery", "burst", :cpu, "µs"),
      Panel.new("Flood: p99", "flood", :p99, "ms"),
      Panel.new("Many rooms: p99", "rooms", :p99, "ms"),
      Panel.new("Memory, idle connection", "idle", :memory_idle, "KB"),
      Panel.new("Memory after burst, per connection", "burst", :memory_after, "KB"),
      Panel.new("CPU per connect and join", "connect", :connect_cpu, "µs")
    ].freeze
    WIDTH = 780
    LABEL = 190
    BAR = 22
    MAX_LENGTH = WIDTH - LABEL - 110

    def initialize(results, titles)
      @results = results
      @titles = titles
      @y = 0
    end

    def to_s
      body = PANELS.filter_map { |panel| panel(panel) }.join
      <<~SVG
        <svg xmlns="http://www.w3.org/2000/svg" width="#{WIDTH}" height="#{@y + 10}" font-family="sans-serif" font-size="13">
        <rect width="100%" height="100%" fill="#fff"/>
        #{body}</svg>
      SVG
    end

    private

    def panel(panel)
      bars = values(panel)
      return if bars.empty?

      @y += 34
      title = "#{escape(panel.title)} (#{panel.unit}, less is better; logarithmic)"
      heading = %(<text x="10" y="#{@y}" font-weight="bold">#{title}</text>\n)
      # The scale begins below the minimum, so that it has a bar too.
      min = bars.map(&:last).min / 3
      max = bars.map(&:last).max
      heading + bars.map { |server, value| bar(server, value, min, max, panel.unit) }.join
    end

    def values(panel)
      @results.servers(panel.scenario).filter_map do |server|
        value = @results.figure(panel.scenario, server, panel.figure)
        [server, value] if value&.positive?
      end
    end

    def bar(server, value, min, max, unit)
      @y += BAR
      length = (Math.log(value / min) / Math.log(max / min) * MAX_LENGTH).round(1)
      fill = server.start_with?("nodevent") ? "#c0392b" : "#7f8c8d"
      <<~SVG
        <text x="10" y="#{@y}" fill="#222">#{escape(@titles.fetch(server))}</text>
        <rect x="#{LABEL}" y="#{@y - 13}" width="#{length}" height="16" fill="#{fill}"/>
        <text x="#{LABEL + length + 6}" y="#{@y}" fill="#222">#{number(value)} #{unit}</text>
      SVG
    end

    def number(value)
      value < 10 ? value.round(2) : value.round
    end

    def escape(text)
      CGI.escapeHTML(text)
    end
  end
end
