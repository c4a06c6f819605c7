# frozen_string_literal: true

module Bench
  # The columns of every table of deliveries.
  DELIVERY = %i[per_second cpu spread p50 p95 p99 lost misplaced].freeze

  # A scenario: what the load generator calls it, and what is shown of it.
  #
  # `columns` are those of its table; `bare` says whether the bare loop can take part, `only` who alone can; `program`
  # is what measures it instead of the load generator.
  Scenario = Struct.new(:name, :title, :columns, :bare, :only, :program, keyword_init: true) do
    def self.named(names)
      names.map do |name|
        all.find { |one| one.name == name } ||
          raise(Error, "there is no scenario `#{name}`; there are: #{all.map(&:name).join(', ')}")
      end
    end

    def self.all
      @all ||= [*loud, *quiet, *neighbours, *ours]
    end

    # Scenarios in which many hear.
    def self.loud
      [new(name: "steady", title: "Steady: 5,000 connections in one room, 10 emissions of 200 bytes a second",
           columns: [:per_second, :cpu, :ratio, *DELIVERY.drop(2)], bare: true),
       new(name: "burst", title: "Burst: 1,000 connections in one room, 500 emissions at once, three times",
           columns: [*DELIVERY, :memory_after]),
       new(name: "flood", title: "Flood: 1,000 connections in one room, 2,000 emissions a second",
           columns: [*DELIVERY, :memory_after]),
       new(name: "rooms", title: "Many rooms: 5,000 connections in 1,000 rooms, 2,000 emissions a second",
           columns: DELIVERY)]
    end

    # Scenarios in which nothing is heard.
    def self.quiet
      [new(name: "idle", title: "Idle: 10,000 joined connections", columns: %i[memory_idle slab memory_server]),
       new(name: "connect", title: "Connect: 5,000 connects and joins, 100 at a time",
           columns: %i[connects connect_cpu connect_spread asked_again], bare: true)]
    end

    # One scenario with slow neighbours, and what it is compared with.
    def self.neighbours
      load = "2,000 connections in one room, 20 emissions of 16 KB a second"
      # More than Action Cable delivers in a minute.
      able = %w[nodevent-memory nodevent-redis nchan socketioxide socket_io]
      [new(name: "none-slow", title: "No slow neighbours: #{load}", columns: DELIVERY, only: able),
       new(name: "slow", title: "Slow neighbours: the same, but 100 of the connections stop reading",
           columns: [*DELIVERY, :slow_closed], only: able)]
    end

    # Scenarios that only our server can take part in.
    def self.ours
      redis = %w[nodevent-redis]
      [new(name: "storm", title: "Reconnect storm: the server restarts under 5,000 connections",
           columns: %i[returned recovered all_back complete lost misplaced], only: redis),
       new(name: "walk", title: "Walk: from `emit` in Ruby to a handler in a page in Chromium, 50 a second",
           columns: %i[walk_p50 walk_p95 walk_p99 walk_lost], only: ["nodevent-memory", *redis],
           program: "walk/walk.rb"),
       new(name: "emit", title: "Emit: one call in Ruby, in µs", columns: [], only: redis, program: "emit/emit.rb")]
    end
  end
end
