# frozen_string_literal: true

module Bench
  # The targets of our server, and their values in this run.
  class Targets
    Target = Struct.new(:what, :limit, :unit, :value)

    def initialize(results)
      @results = results
    end

    def to_s
      lines = targets.filter_map { |target| line(target) }
      return "" if lines.empty?

      ["| | at most | memory engine | Redis engine |", "| --- | ---: | ---: | ---: |", *lines].join("\n").concat("\n")
    end

    private

    def targets
      [simple("burst: CPU per delivery", 0.2, "µs", "burst", :cpu),
       simple("flood: p99", 20, "ms", "flood", :p99),
       simple("memory of an idle joined connection", 5, "KB", "idle", :memory_idle),
       simple("memory after the burst, per connection", 8, "KB", "burst", :memory_after),
       simple("memory of an idle connection with an identity", 1.5, "KB", "idle-jwt", :memory_idle),
       simple("CPU per connect and join", 60, "µs", "connect", :connect_cpu),
       simple("many rooms: p99", 1, "ms", "rooms", :p99),
       Target.new("steady: CPU per delivery", 1.15, "× bare loop", method(:steady)),
       Target.new("hooks: CPU per delivery of steady", 1.1, "× without a hook", method(:hooks)),
       *cable,
       *store,
       Target.new("slow clients: p99 of the others", 1.1, "× without them", method(:slow)),
       simple("`emit` in Ruby beyond the message's `to_json`", 1, "µs", "emit", :beyond_to_json),
       simple("`emit` of a record beyond `to_json`", 2, "µs", "emit", :record_beyond_to_json),
       simple("`emit` in Rails beyond `to_json`", 3, "µs", "emit", :beyond_to_json_rails),
       Target.new("lost, in all scenarios together", 0, "", method(:lost))]
    end

    def simple(what, limit, unit, scenario, name)
      Target.new(what, limit, unit, ->(server) { figure(scenario, server, name) })
    end

    def line(target)
      values = OURS.map { |server| target.value.call(server) }
      return if values.none?

      cells = values.map do |value|
        next "–" unless value

        "#{value.round(value < 10 ? 2 : 1)}#{' **missed**' if value > target.limit}"
      end
      "| #{target.what} | #{target.limit} #{target.unit} | #{cells.join(' | ')} |"
    end

    def figure(scenario, server, name)
      @results.figure(scenario, server, name)
    end

    def steady(server)
      @results.ratio("steady", server, :cpu, to: "bare")
    end

    def hooks(server)
      @results.ratio("hooks", server.sub("nodevent", "hooks"), :cpu, to: server)
    end

    # The same load through frames of Action Cable.
    def cable
      figures = { "steady" => :cpu, "burst" => :cpu, "flood" => :cpu,
                  "idle" => :memory_idle, "connect" => :connect_cpu }
      figures.map do |scenario, name|
        value = ->(server) { @results.ratio(scenario, server.sub("nodevent", "cable"), name, to: server) }
        Target.new("Action Cable: #{scenario}", 1.15, "× `nodevent` dialect", value)
      end
    end

    # The same load with a store.
    def store
      %w[steady burst].map do |scenario|
        value = ->(server) { @results.ratio(scenario, server.sub("nodevent", "store"), :cpu, to: server) }
        Target.new("store: CPU per delivery of #{scenario}", 1.1, "× without a store", value)
      end
    end

    def slow(server)
      with = figure("slow", server, :p99)
      without = figure("none-slow", server, :p99)
      with / without if with && without
    end

    def lost(server)
      Scenario.all.filter_map { |scenario| figure(scenario.name, server, :lost) }.sum
    end
  end
end
