# frozen_string_literal: true

module Bench
  # The results of a run, as medians over its rounds.
  class Results
    # Each figure's value in a report, in the unit of its column.
    FIGURES = {
      per_second: ->(report) { report.dig(:delivery, :per_second) },
      cpu: ->(report) { report.dig(:delivery, :cpu_us) },
      redis_cpu: ->(report) { report.dig(:delivery, :redis_cpu_us) },
      p50: ->(report) { report.dig(:delivery, :latency_ms, :p50) },
      p95: ->(report) { report.dig(:delivery, :latency_ms, :p95) },
      p99: ->(report) { report.dig(:delivery, :latency_ms, :p99) },
      lost: ->(report) { report.dig(:delivery, :lost) || report.dig(:presence, :lost) },
      bytes: ->(report) { report.dig(:delivery, :bytes) },
      out_of_order: ->(report) { report.dig(:delivery, :out_of_order) },
      memory_idle: ->(report) { report.dig(:memory, :idle)&.fdiv(1024) },
      memory_after: ->(report) { report.dig(:memory, :after)&.fdiv(1024) },
      memory_after_private: ->(report) { report.dig(:memory, :after_private)&.fdiv(1024) },
      memory_server: ->(report) { report.dig(:memory, :server)&.fdiv(1024 * 1024) },
      memory_server_private: ->(report) { report.dig(:memory, :server_private)&.fdiv(1024 * 1024) },
      slab: ->(report) { report.dig(:memory, :slab)&.fdiv(1024) },
      connects: ->(report) { report.dig(:connect, :per_second) },
      connect_cpu: ->(report) { report.dig(:connect, :cpu_us) },
      join_retries: ->(report) { report.dig(:connect, :join_retries) },
      slow_closed: ->(report) { report.dig(:slow, :closed) },
      reconnected: ->(report) { report.dig(:storm, :reconnected) },
      recovered: ->(report) { report.dig(:storm, :recovered) },
      all_joined: ->(report) { report.dig(:storm, :all_joined_s) },
      complete: ->(report) { report.dig(:storm, :complete) },
      changes: ->(report) { report.dig(:presence, :changes) },
      change_cpu: ->(report) { report.dig(:presence, :cpu_us) },
      change_redis_cpu: ->(report) { report.dig(:presence, :redis_cpu_us) },
      events: ->(report) { report.dig(:presence, :delivered) },
      enter_p50: ->(report) { report.dig(:presence, :enter_ms, :p50) },
      enter_p99: ->(report) { report.dig(:presence, :enter_ms, :p99) },
      leave_p50: ->(report) { report.dig(:presence, :leave_ms, :p50) },
      leave_p99: ->(report) { report.dig(:presence, :leave_ms, :p99) },
      acknowledged: ->(report) { report.dig(:mailbox, :acknowledged) },
      ack_p50: ->(report) { report.dig(:mailbox, :acknowledgement_ms, :p50) },
      ack_p99: ->(report) { report.dig(:mailbox, :acknowledgement_ms, :p99) },
      hook_events: ->(report) { report.dig(:hooks, :events) },
      walk_p50: ->(report) { report.dig(:walk, 0, :p50) },
      walk_p95: ->(report) { report.dig(:walk, 0, :p95) },
      walk_p99: ->(report) { report.dig(:walk, 0, :p99) },
      walk_lost: ->(report) { report[:walk]&.sum { |run| run[:publications] - run[:received] } },
      beyond_to_json: ->(report) { report.dig(:emit, 0, :emit_beyond_to_json) },
      beyond_to_json_rails: ->(report) { report.dig(:emit, 1, :emit_beyond_to_json) },
      record_beyond_to_json: ->(report) { report.dig(:emit, 0, :emit_record_beyond_to_json) }
    }.freeze
    # Figures of which the worst round counts, not the median.
    WORST = %i[lost out_of_order join_retries].freeze

    def self.summary(report)
      figures = FIGURES.transform_values { |figure| figure.call(report) }
      names = %i[per_second cpu p50 p99 lost connect_cpu memory_idle memory_after change_cpu enter_p50 leave_p50 ack_p50
                 walk_p50 walk_p99 beyond_to_json]
      shown = names.filter_map do |name|
        format("%<name>s %<value>.4g", name: name, value: figures[name]) if figures[name]
      end
      shown.join("  ")
    end

    def initialize(raw)
      @raw = raw
    end

    def servers(scenario)
      of(scenario).map { |one| one[:server] }.uniq
    end

    # @return [Float, nil] the median of a figure over the rounds, or the worst
    def figure(scenario, server, name)
      values = values(scenario, server, name)
      return if values.empty?

      WORST.include?(name) ? values.max : median(values)
    end

    # @return [Array(Float, Float), nil] the minimum and maximum of a figure
    def spread(scenario, server, name)
      values = values(scenario, server, name)
      values.minmax unless values.empty?
    end

    # @return [Float, nil] the median of the ratios to another server in the same round
    def ratio(scenario, server, name, to:)
      ratios = of(scenario, server).filter_map do |one|
        other = of(scenario, to).find { |candidate| candidate[:round] == one[:round] }
        figures = [one, other].compact.filter_map { |each| FIGURES[name].call(each[:report]) if each[:report] }
        figures.reduce(:fdiv) if figures.size == 2
      end
      median(ratios) unless ratios.empty?
    end

    # @return [Hash{Symbol => Float}] medians of the figures of `emit` in its first or second run
    def emit(run)
      reports = of("emit").filter_map { |one| one.dig(:report, :emit, run) }
      reports.first.to_h.to_h { |way, _| [way, median(reports.map { |report| report[way] })] }
    end

    def errors(scenario, server)
      of(scenario, server).filter_map { |one| one[:error] }
    end

    private

    def of(scenario, server = nil)
      @raw.select { |one| one[:scenario] == scenario && (server.nil? || one[:server] == server) }
    end

    def values(scenario, server, name)
      of(scenario, server).filter_map { |one| FIGURES.fetch(name).call(one[:report]) if one[:report] }
    end

    def median(values)
      sorted = values.sort
      (sorted[(sorted.size - 1) / 2] + sorted[sorted.size / 2]) / 2.0
    end
  end
end
