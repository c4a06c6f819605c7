# frozen_string_literal: true

module Bench
  # The columns of every table of deliveries.
  DELIVERY = %i[per_second cpu spread p50 p95 p99 lost out_of_order].freeze

  # Our server for clients of Action Cable, with both engines.
  CABLE = %w[cable-memory cable-redis].freeze

  # The columns of the table of presence.
  PRESENCE = %i[changes change_cpu change_redis_cpu events enter_p50 enter_p99 leave_p50 leave_p99 lost].freeze

  # Our server with both engines.
  OURS = %w[nodevent-memory nodevent-redis].freeze

  # A scenario: its name in the load generator, and its presentation.
  #
  # `columns` are those of its table, `bare` is true if the bare loop can take part, `only` lists the servers that can,
  # `program` measures it in place of the load generator, and `settings` are what the namespace of our server needs.
  # `load` is its name in the load generator, if that is another one.
  Scenario = Struct.new(:name, :title, :columns, :bare, :only, :program, :settings, :load, keyword_init: true) do
    def self.named(names)
      names.map do |name|
        all.find { |one| one.name == name } ||
          raise(Error, "there is no scenario `#{name}`; write one of #{all.map(&:name).join(', ')}")
      end
    end

    def self.all
      @all ||= [*delivery, *quiet, *slow_clients, *users, *ours]
    end

    # Scenarios with many deliveries.
    def self.delivery
      [new(name: "steady", title: "Steady: 5,000 connections in one room, 10 publications of 200 bytes per second",
           columns: [:per_second, :cpu, :ratio, :dialect_ratio, *DELIVERY.drop(2)], bare: true),
       new(name: "burst", title: "Burst: 1,000 connections in one room, 500 publications at once, three times",
           columns: [*DELIVERY, :bytes, :dialect_ratio, :memory_after, :memory_after_private]),
       new(name: "flood", title: "Flood: 1,000 connections in one room, 2,000 publications per second",
           columns: [*DELIVERY, :dialect_ratio, :memory_after, :memory_after_private]),
       new(name: "rooms", title: "Many rooms: 5,000 connections in 1,000 rooms, 2,000 publications per second",
           columns: DELIVERY),
       new(name: "many-rooms", columns: DELIVERY, only: [*OURS, "store-memory"],
           title: "One room per connection: 1,000 rooms of one member, 20,000 publications per second")]
    end

    # Scenarios without deliveries.
    def self.quiet
      [new(name: "idle", title: "Idle: 10,000 joined connections",
           columns: %i[memory_idle idle_dialect_ratio slab memory_server memory_server_private]),
       new(name: "connect", title: "Connect: 5,000 connects and joins, 100 at a time",
           columns: %i[connects connect_cpu connect_dialect_ratio connect_spread join_retries], bare: true)]
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

    # Scenarios in which each connection sends a token of its own user. Our server only.
    def self.users
      token = { secret: Nodevent::TOKEN_SECRET, required: true }
      [new(name: "idle-jwt", title: "Idle with JWT: 10,000 joined connections, each with the identity of its own user",
           columns: %i[memory_idle slab memory_server memory_server_private], only: OURS, settings: { token: token }),
       new(name: "connect-jwt", title: "Connect with JWT: 5,000 connects and joins with a token, 100 at a time",
           columns: %i[connects connect_cpu connect_spread join_retries], only: OURS, settings: { token: token }),
       new(name: "presence", title: "Presence: of 5,000 users in 100 rooms, every second one leaves and enters again",
           columns: PRESENCE, only: OURS, settings: { token: token, presence: { grace: "1s" } }),
       new(name: "mailbox", title: "Mailbox: 1,000 messages per second to 1,000 users, who acknowledge each",
           columns: [*DELIVERY, :ack_p50, :ack_p99, :acknowledged], only: OURS,
           settings: { token: token, mailbox: { unknown: "keep" } })]
    end

    # Scenarios for our server only.
    def self.ours
      redis = %w[nodevent-redis]
      [new(name: "hooks", title: "Hooks: as steady, with and without a hook for each publication",
           columns: [:per_second, :cpu, :hook_ratio, *DELIVERY.drop(2), :hook_events], only: OURS, load: "steady"),
       new(name: "identifiers",
           title: "Identifiers: 1,000 viewers with 100 identifiers on one stream, 200 messages per second",
           columns: [*DELIVERY, :memory_after, :memory_after_private], only: CABLE),
       new(name: "storm", title: "Reconnect storm: the server restarts under 5,000 connections",
           columns: %i[reconnected recovered all_joined complete lost out_of_order], only: redis),
       new(name: "walk", title: "Walk: from `emit` in Ruby to a handler in a page in Chromium, 50 per second",
           columns: %i[walk_p50 walk_p95 walk_p99 walk_lost], only: ["nodevent-memory", *redis],
           program: "walk/walk.rb"),
       new(name: "emit", title: "Emit: one call in Ruby, in µs", columns: [], only: redis, program: "emit/emit.rb")]
    end
  end
end
