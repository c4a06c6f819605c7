# frozen_string_literal: true

module Bench
  # The columns of every table of deliveries.
  DELIVERY = %i[per_second cpu spread p50 p95 p99 lost out_of_order].freeze

  # A scenario: its name in the load generator, and its presentation.
  #
  # `columns` are those of its table, `bare` is true if the bare loop can take part, `only` lists the servers that can,
  # and `program` measures it in place of the load generator.
  Scenario = Struct.new(:name, :title, :columns, :bare, :only, :program, keyword_init: true) do
    def self.named(names)
      names.map do |name|
        all.find { |one| one.name == name } ||
          raise(Error, "there is no scenario `#{name}`; write one of #{all.map(&:name).join(', ')}")
      end
    end

    def self.all
      @all ||= [*delivery, *quiet, *slow_clients, *ours]
    end

    # Scenarios with many deliveries.
    def self.delivery
      [new(name: "steady", title: "Steady: 5,000 connections in one room, 10 publications of 200 bytes per second",
           columns: [:per_second, :cpu, :ratio, *DELIVERY.drop(2)], bare: true),
       new(name: "burst", title: "Burst: 1,000 connections in one room, 500 publications at once, three times",
           columns: [*DELIVERY, :memory_after]),
       new(name: "flood", title: "Flood: 1,000 connections in one room, 2,000 publications per second",
           columns: [*DELIVERY, :memory_after]),
       new(name: "rooms", title: "Many rooms: 5,000 connections in 1,000 rooms, 2,000 publications per second",
           columns: DELIVERY)]
    end

    # Scenarios without deliveries.
    def self.quiet
      [new(name: "idle", title: "Idle: 10,000 joined connections", columns: %i[memory_idle slab memory_server]),
       new(name: "connect", title: "Connect: 5,000 connects and joins, 100 at a time",
           columns: %i[connects connect_cpu connect_spread join_retries], bare: true)]
    end

    # One scenario with slow clients, and its reference without them.
    def self.slow_clients
      load = "2,000 connections in one room, 20 publications of 16 KB per second"
      # The load is more than Action Cable delivers in a minute.
      able = %w[nodevent-memory nodevent-redis nchan socketioxide socket_io]
      [new(name: "none-slow", title: "No slow clients: #{load}", columns: DELIVERY, only: able),
       new(name: "slow", title: "Slow clients: the same, but 100 of the connections stop reading",
           columns: [*DELIVERY, :slow_closed], only: able)]
    end

    # Scenarios for our server only.
    def self.ours
      redis = %w[nodevent-redis]
      [new(name: "storm", title: "Reconnect storm: the server restarts under 5,000 connections",
           columns: %i[reconnected recovered all_joined complete lost out_of_order], only: redis),
       new(name: "walk", title: "Walk: from `emit` in Ruby to a handler in a page in Chromium, 50 per second",
           columns: %i[walk_p50 walk_p95 walk_p99 walk_lost], only: ["nodevent-memory", *redis],
           program: "walk/walk.rb"),
       new(name: "emit", title: "Emit: one call in Ruby, in µs", columns: [], only: redis, program: "emit/emit.rb")]
    end
  end
end
