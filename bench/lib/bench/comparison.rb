# frozen_string_literal: true

module Bench
  # The present build against a baseline: a table per engine, with a row per scenario and the ratio new/old per column.
  class Comparison
    # The columns, with the direction of an improvement.
    BETTER = { per_second: :more, cpu: :less, p50: :less, p95: :less, p99: :less, memory_idle: :less,
               memory_after: :less, memory_after_private: :less, slab: :less, memory_server: :less,
               memory_server_private: :less, connects: :more, connect_cpu: :less, all_joined: :less }.freeze
    # A ratio that is worse by more than this is marked.
    TOLERANCE = 0.05

    # @param servers [Array<Server>] those of the run
    def initialize(results, scenarios, servers)
      @results = results
      @scenarios = scenarios
      @baselines = servers.select { |server| server.is_a?(Nodevent) && server.baseline? }
    end

    def to_s
      @baselines.filter_map { |baseline| table(baseline) }.join("\n")
    end

    private

    def table(baseline)
      rows = @scenarios.to_h { |scenario| [scenario.name, cells(scenario, baseline)] }
      rows.reject! { |_, cells| cells.empty? }
      return if rows.empty?

      <<~TABLE
        ### New/old: #{baseline.title.sub('Baseline, ', '')}

        Medians of the ratios in the same round; **bold** is worse by more than #{(TOLERANCE * 100).round} %.

        #{lines(rows, BETTER.keys & rows.values.flat_map(&:keys)).join("\n")}
      TABLE
    end

    def lines(rows, columns)
      [line("", columns.map { |column| Table::HEADINGS.fetch(column) }),
       line("---", columns.map { "---:" }),
       *rows.map { |name, cells| line(name, columns.map { |column| cells.fetch(column, "–") }) }]
    end

    # @return [Hash{Symbol => String}] a ratio for each column that the scenario shows
    def cells(scenario, baseline)
      columns = BETTER.keys & scenario.columns
      ratios = columns.to_h do |column|
        [column, @results.ratio(scenario.name, baseline.counterpart, column, to: baseline.name)]
      end
      ratios.select { |_, ratio| ratio&.finite? }.to_h { |column, ratio| [column, cell(column, ratio)] }
    end

    def cell(column, ratio)
      text = format("%.2f", ratio)
      worse = BETTER[column] == :less ? ratio - 1 : 1 - ratio
      worse > TOLERANCE ? "**#{text}**" : text
    end

    def line(first, cells)
      "| #{[first, *cells].join(' | ')} |"
    end
  end
end
