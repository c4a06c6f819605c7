# frozen_string_literal: true

module Bench
  # A scenario: what the load generator calls it, and what is shown of it.
  #
  # `columns` are those of its table; `bare` says whether the bare loop can take part, `only` who alone can.
  Scenario = Struct.new(:name, :title, :columns, :bare, :only, keyword_init: true) do
    def self.named(names)
      names.map do |name|
        all.find { |one| one.name == name } ||
          raise(Error, "there is no scenario `#{name}`; there are: #{all.map(&:name).join(', ')}")
      end
    end

    def self.all
      delivery = %i[per_second cpu spread p50 p95 p99 lost misplaced]
      @all ||= [
        new(name: "steady", title: "Steady: 5,000 connections in one room, 10 emissions of 200 bytes a second",
            columns: [:per_second, :cpu, :ratio, *delivery.drop(2)], bare: true),
        new(name: "burst", title: "Burst: 1,000 connections in one room, 500 emissions at once, three times",
            columns: [*delivery, :memory_after]),
        new(name: "flood", title: "Flood: 1,000 connections in one room, 2,000 emissions a second",
            columns: [*delivery, :memory_after]),
        new(name: "rooms", title: "Many rooms: 5,000 connections in 1,000 rooms, 2,000 emissions a second",
            columns: delivery),
        new(name: "idle", title: "Idle: 10,000 joined connections", columns: %i[memory_idle slab memory_server]),
        new(name: "connect", title: "Connect: 5,000 connects and joins, 100 at a time",
            columns: %i[connects connect_cpu connect_spread asked_again], bare: true),
        new(name: "none-slow", title: "2,000 connections in one room, 20 emissions of 16 KB a second: all of them read",
            columns: delivery),
        new(name: "slow", title: "Slow neighbours: the same, but 100 of them stop reading",
            columns: [*delivery, :slow_closed]),
        new(name: "storm", title: "Reconnect storm: the server restarts under 5,000 connections",
            columns: %i[returned recovered all_back complete lost misplaced], only: "nodevent-redis")
      ]
    end
  end
end
