# frozen_string_literal: true

module Bench
  # Results as Markdown: one table per scenario.
  class Table
    HEADINGS = {
      per_second: "deliveries/s", cpu: "CPU µs per delivery", spread: "(min–max)", ratio: "× bare loop",
      p50: "p50 ms", p95: "p95 ms", p99: "p99 ms", lost: "lost", out_of_order: "out of order",
      bytes: "bytes per delivery",
      memory_idle: "resident KB per connection", memory_after: "KB per connection after",
      memory_after_private: "private KB per connection after",
      memory_server: "MB of the server itself", memory_server_private: "private MB of the server itself",
      slab: "kernel KB (both ends)",
      connects: "connects/s", connect_cpu: "CPU µs per connect", connect_spread: "(min–max)",
      join_retries: "join retries", slow_closed: "slow clients closed", reconnected: "reconnected",
      recovered: "recovered", all_joined: "all joined, s", complete: "received everything",
      changes: "changes", change_cpu: "CPU µs per change", change_redis_cpu: "Redis µs per change",
      events: "events delivered", enter_p50: "enter p50 ms", enter_p99: "enter p99 ms",
      leave_p50: "leave p50 ms", leave_p99: "leave p99 ms",
      acknowledged: "acknowledged", ack_p50: "acknowledgement p50 ms", ack_p99: "acknowledgement p99 ms",
      dialect_ratio: "× `nodevent` dialect", idle_dialect_ratio: "× `nodevent` dialect",
      connect_dialect_ratio: "× `nodevent` dialect",
      hook_ratio: "× without a hook", hook_events: "events of hooks",
      walk_p50: "p50 ms", walk_p95: "p95 ms", walk_p99: "p99 ms", walk_lost: "lost"
    }.freeze
    WHOLE = %i[per_second lost out_of_order connects join_retries slow_closed reconnected recovered complete
               changes events acknowledged hook_events walk_lost].freeze
    CALLS = {
      to_json: "the message's own `to_json`", emit: "`NoDevent::Emitter.emit`",
      emit_beyond_to_json: "… beyond `to_json`",
      emit_record: "`NoDevent::Emitter.emit` of a record", emit_record_beyond_to_json: "… beyond `to_json`",
      record_emit: "`emit` of the record", record_emit_beyond_to_json: "… beyond `to_json`",
      redis_publish: "redis-rb's `publish` of an encoded text",
      action_cable_broadcast: "Action Cable's `broadcast`"
    }.freeze

    def initialize(results, scenarios, titles)
      @results = results
      @scenarios = scenarios
      @titles = titles
    end

    def to_s
      @scenarios.map { |scenario| section(scenario) }.join("\n")
    end

    private

    def section(scenario)
      return emit(scenario) if scenario.name == "emit"

      headings = scenario.columns.map { |column| HEADINGS.fetch(column) }
      lines = ["### #{scenario.title}", "", row("", headings), row("---", headings.map { "---:" })]
      @results.servers(scenario.name).each { |server| lines << line(scenario, server) }
      "#{lines.join("\n")}\n"
    end

    # The rows of this table are calls, not servers.
    def emit(scenario)
      alone, rails = [0, 1].map { |run| @results.emit(run) }
      rows = CALLS.filter_map do |call, title|
        row(title, [number(alone[call]), number(rails[call])]) if alone[call] || rails[call]
      end
      lines = ["### #{scenario.title}", "", row("", ["Ruby alone", "in Rails"]), row("---", ["---:", "---:"]), *rows]
      "#{lines.join("\n")}\n"
    end

    def line(scenario, server)
      errors = @results.errors(scenario.name, server)
      cells = scenario.columns.map { |column| cell(scenario.name, server, column) }
      title = @titles.fetch(server)
      title += " (#{errors.size} rounds failed: #{errors.first})" if errors.any?
      row(title, cells)
    end

    def row(first, cells)
      "| #{[first, *cells].join(' | ')} |"
    end

    def cell(scenario, server, column)
      case column
      when :spread then spread(scenario, server, :cpu)
      when :connect_spread then spread(scenario, server, :connect_cpu)
      when :hook_ratio then number(@results.ratio(scenario, server, :cpu, to: server.sub("hooks", "nodevent")))
      when :dialect_ratio then dialect_ratio(scenario, server, :cpu)
      when :idle_dialect_ratio then dialect_ratio(scenario, server, :memory_idle)
      when :connect_dialect_ratio then dialect_ratio(scenario, server, :connect_cpu)
      when :ratio then number(@results.ratio(scenario, server, :cpu, to: "bare"))
      else number(@results.figure(scenario, server, column), whole: WHOLE.include?(column))
      end
    end

    # What clients of Action Cable cost, in units of our own clients with the same engine.
    def dialect_ratio(scenario, server, name)
      return "–" unless CABLE.include?(server)

      number(@results.ratio(scenario, server, name, to: server.sub("cable", "nodevent")))
    end

    def spread(scenario, server, name)
      least, most = @results.spread(scenario, server, name)
      least ? "#{number(least)}–#{number(most)}" : "–"
    end

    def number(value, whole: false)
      return "–" unless value
      return value.round.to_s.gsub(/(?<=\d)(?=(\d{3})+$)/, ",") if whole

      digits = value.abs < 1 ? 3 : 2
      format("%.#{value.abs < 10 ? digits : 1}f", value)
    end
  end
end
