# frozen_string_literal: true

# The module methods of {NoDevent}, which concern the whole process.
module NoDevent
  class << self
    # Calls the block with each {PublishError} that cannot be raised to a caller: once when the engine becomes
    # unavailable, when it rejects publications, and when the queue is full. The block runs on a background thread and
    # must return quickly.
    # @example
    #   NoDevent.on_error { |error| Sentry.capture_exception(error) }
    # @yieldparam error [PublishError]
    # @return [Proc] the handler
    # @raise [ArgumentError] without a block
    def on_error(&block)
      ErrorReporter.on_error(&block)
    end

    # @return [#warn, #info, #error] Rails' logger in Rails; otherwise one that writes warnings to standard error
    def logger
      Logger.current
    end

    # @example
    #   NoDevent.logger = Logger.new("log/nodevent.log")
    # @param logger [::Logger, #warn] an object with the methods of Ruby's Logger
    # @return [void]
    def logger=(logger)
      Logger.current = logger
    end

    # @example
    #   NoDevent.stats   # => {:queued=>0, :sent=>12, :failed=>0, :dropped=>0, :rejected=>0}
    # @return [Hash{Symbol => Integer}] the counts of this process's publications: `queued` at the moment; `sent`,
    #   `failed` (rejected by the engine, or withdrawn after the caller's timeout), `dropped` (because the queue was
    #   full) and `rejected` (because the message was too large) since the process started
    def stats
      %i[queued sent failed dropped rejected].zip(Native.stats).to_h
    end

    # Waits until everything emitted so far has reached the engine. Required only before `exit!`: a normal exit flushes
    # for up to `publisher: { shutdown_timeout: }`.
    # @example
    #   fork { work; NoDevent.flush(2); exit! }
    # @param timeout [Numeric] seconds
    # @return [Boolean] whether everything has reached the engine
    # @raise [ArgumentError, TypeError] if the timeout is not a number
    def flush(timeout = 5)
      Native.flush(Float(timeout), false)
    end

    # Records publications instead of publishing them, for tests. `require "nodevent/rspec"` and `"nodevent/minitest"`
    # call this before each test.
    # @example
    #   recorded = NoDevent.test_mode!
    #   comment.save!
    #   recorded.publications.map(&:event)   # => ["create"]
    #   recorded.stop                        # publishes again
    # @return [NoDevent::Testing]
    def test_mode!
      require "nodevent/testing"
      Testing.start
      Testing
    end

    # Asks the server who is in a room. It must have `presence` in its configuration.
    # @example
    #   NoDevent.presence(discussion).count   # => 3
    # @param room see {Room.of}
    # @return [Presence]
    # @raise [InvalidRoomError] if the argument does not name a room
    # @raise [ServerError] if the server does not respond, or the room has no presence
    # @raise [ConfigurationError] if the configuration is invalid, or has `url: false`
    def presence(room)
      Namespace.default.presence(room)
    end

    # Asks the server how many connections a user has, on all servers. It must have `presence` in its configuration.
    # @example
    #   UserMailer.mention(user).deliver_later unless NoDevent.connections(user).any?
    # @param user [String, Symbol, Integer, #id] the user or its id, as for {Token.issue}
    # @return [Connections]
    # @raise [ArgumentError] if the user has no id
    # @raise [ServerError] if the server does not respond, rejects the publish key, or has no presence
    # @raise [ConfigurationError] if the configuration is invalid, or has `url: false`
    def connections(user)
      Namespace.default.connections(user)
    end

    # Returns another namespace of the configuration, which emits and signs like {Emitter}.
    # @example
    #   NoDevent.namespace("/board").emit(discussion, "update", discussion)
    # @param name [String, Symbol] with or without the leading slash
    # @return [Namespace]
    # @raise [ConfigurationError] if the configuration does not contain it
    def namespace(name)
      Namespace.new("/#{name.to_s.delete_prefix('/')}").tap(&:config)
    end

    # Ends connections or memberships on all servers, at once: all connections of a user, all memberships of a room, or
    # those of a user in a room. Tokens that were issued before count no longer, also if the user is offline. Returns
    # when the engine has the revocation. See docs/revocation.md.
    # @example when a user signs out everywhere
    #   NoDevent.revoke(user: current_user)
    # @example when a user leaves a team
    #   NoDevent.revoke(user: member, room: team)
    # @param user [String, Symbol, Integer, #id, nil] as in {Token.issue}
    # @param room [Object, nil] see {Room.of}
    # @param before [Time, Numeric, #to_time, nil] tokens that were issued before this time count no longer; now by
    #   default. Numbers are seconds since 1970
    # @param namespace [String, Symbol, nil] another namespace than the default
    # @return [void]
    # @raise [ArgumentError] without a user and a room
    # @raise [RevokeError] if the server could not be reached, or did not revoke
    # @raise [ConfigurationError]
    def revoke(user: nil, room: nil, before: nil, namespace: nil)
      config = (namespace ? self.namespace(namespace) : Namespace.default).config
      Revocation.revoke(config, user: user, room: room, before: before)
    end

    # Decides who gets a key for a room. The gem mounts an endpoint at `/nodevent/key`, and the browser client requests
    # new keys there before they expire.
    # @example in config/initializers/nodevent.rb
    #   NoDevent.authorize do |room, request|
    #     user = User.find_by(id: request.session[:user_id])
    #     user&.may_read?(room)
    #   end
    # @param expires_after [Numeric] seconds until the keys expire
    # @yieldparam room [String] the name of the room
    # @yieldparam request [ActionDispatch::Request, Rack::Request] the page's request, with session and cookies
    # @yieldparam namespace [String] the namespace that the page has chosen, with its leading slash. If the block takes
    #   fewer than three parameters, pages get keys for the default namespace only
    # @yieldreturn [Boolean] whether the page gets a key
    # @return [void]
    # @raise [ArgumentError] without a block
    def authorize(expires_after: HOUR, &block)
      raise ArgumentError, "NoDevent.authorize needs a block: NoDevent.authorize { |room, request| … }" unless block

      KeyEndpoint.configure(expires_after, block)
    end

    # Says who a visitor is whose connection the application hands over to the server; see {NoDevent::Server}. The block
    # runs when a page connects. What it returns counts for the connection as long as it is open, unless it expires.
    # @example in config/initializers/nodevent.rb
    #   NoDevent.identify do |request|
    #     user = User.find_by(id: request.session[:user_id])
    #     { user: user, info: { name: user.name }, rooms: user.teams } if user
    #   end
    # @param namespace [String, Symbol, nil] another namespace than the default
    # @yieldparam request [ActionDispatch::Request, Rack::Request] the page's request, with session and cookies
    # @yieldreturn [Hash, nil] `user` as in {Token.issue}, and perhaps `info`, `rooms` and `expires`; nil if the visitor
    #   is not known
    # @return [void]
    # @raise [ArgumentError] without a block
    def identify(namespace: nil, &block)
      raise ArgumentError, "NoDevent.identify needs a block: NoDevent.identify { |request| … }" unless block

      Handover::Visitor.configure(namespace && "/#{namespace.to_s.delete_prefix('/')}", block)
    end

    # Registers what happens when the server notifies the application; see {NoDevent::Hooks}. The block runs in the
    # server's request, so long work belongs into a job.
    # @example
    #   NoDevent.on(:connected) { |event| User.find(event.user).update(online: true) }
    #   NoDevent.on(:left, job: LeftRoomJob)              # calls LeftRoomJob.perform_later(event.to_h)
    #   NoDevent.on(:delivered, "order_paid") { |event| Receipt.send_for(event.message) }
    # @param type [Symbol] `:connected`, `:disconnected`, `:entered`, `:left` or `:delivered`
    # @param events [Array<String, Symbol>] with `:delivered`: the exact names of the events, by default all. Patterns
    #   like `order_*` are for the configuration only
    # @param job [#perform_later, nil] an Active Job class, instead of a block
    # @yieldparam event [HookEvent]
    # @return [#call] the handler
    # @raise [ArgumentError] for another type, or without a block and a job
    def on(type, *events, job: nil, &block)
      Hooks.register(type, events, job, block)
    end

    # Allows the inline script of `javascript_include_nodevent(async: true)` in a Content-Security-Policy that has no
    # nonces.
    # @example
    #   policy.script_src :self, NoDevent::Emitter.config["public_url"], NoDevent.csp_hash
    # @return [String] `'sha256-…'`, with its quotes
    def csp_hash
      ClientFiles.queue_hash
    end

    # How rooms are named if their class does not say so with `nodevent_room_by`.
    # @return [Symbol, Array<Symbol>, Proc, nil]
    def room_by
      Room.by
    end

    # Names the rooms of all records by something that never changes. Recommended if `to_param` is a slug.
    # @example in config/initializers/nodevent.rb
    #   NoDevent.room_by = :id
    # @param rule [Symbol, Array<Symbol>, Proc, nil]
    # @return [void]
    def room_by=(rule)
      Room.by = rule
    end

    # @return [Boolean] whether each `emit` waits for the commit of open transactions; see {Emitter.emit}
    def after_commit
      AfterCommit.default ? true : false
    end

    # Lets each `emit` wait for the commit of open transactions, except with `wait: true` or `after_commit: false`. In
    # Rails also `config.nodevent.after_commit = true`.
    # @example in config/initializers/nodevent.rb
    #   NoDevent.after_commit = true
    # @param wanted [Boolean]
    # @return [void]
    def after_commit=(wanted)
      AfterCommit.default = wanted
    end

    # Runs the block without emitting anything, including the commits of changes made in it. Affects only the current
    # fiber.
    # @example
    #   NoDevent.silence { Discussion.import(rows) }
    # @return [Object] the block's result
    def silence(&block)
      Silence.with(&block)
    end
  end
end
