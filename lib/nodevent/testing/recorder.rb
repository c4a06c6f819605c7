# frozen_string_literal: true

module NoDevent
  module Testing
    # One publication as browsers would receive it: `message` was converted to JSON and back. `room` is nil if it was
    # emitted with {Emitter.to}; then it has `rooms`, `users` (their ids) and `broadcast`.
    Publication = Struct.new(:room, :event, :message, :namespace, :rooms, :users, :broadcast, keyword_init: true) do
      def to_s
        Text.line(%("#{event}" to #{target} with #{JSON.generate(message)}))
      end

      # Without the targets that it does not have.
      def to_h(...)
        super.reject { |name, value| value.nil? && %i[rooms users broadcast].include?(name) }
      end

      private

      def target
        return %("#{room}") if room

        names = [*rooms, *users&.map { |user| "user #{user}" }].map { |name| %("#{name}") }
        [*names, *("all connections" if broadcast)].join(", ")
      end
    end

    # One message for the mailboxes of users: their ids, and `message` as their pages would receive it.
    Notification = Struct.new(:users, :event, :message, :namespace, :ttl, :key, keyword_init: true) do
      def to_s
        names = users.map { |user| %("user #{user}") }.join(", ")
        Text.line(%("#{event}" for #{names} with #{JSON.generate(message)}))
      end
    end

    # One revocation. `before` is seconds since 1970, or nil.
    Revocation = Struct.new(:user, :room, :before, :namespace, keyword_init: true) do
      def to_s
        Text.line([*(%("user #{user}") if user), *(%(room "#{room}") if room)].join(" in "))
      end
    end

    # One channel that a page has subscribed to, or unsubscribed from: `verb` is "subscribed" or "unsubscribed".
    Subscription = Struct.new(:channel, :verb, :page, :namespace, keyword_init: true) do
      def to_s
        Text.line(%("#{channel}"))
      end
    end

    # One push: to `channels`, or to the `page` with this digest, which sees one channel. `message` is what pages
    # receive.
    Push = Struct.new(:channels, :message, :page, :namespace, keyword_init: true) do
      def to_s
        names = channels.map { |name| %("#{name}") }.join(", ")
        Text.line("#{JSON.generate(message)} to #{names}#{" of page #{page}" if page}")
      end
    end

    # A publisher that records. It takes no lock, so that signal handlers can emit; appending to an Array and copying it
    # are atomic.
    class Recorder
      def initialize
        @entries = []
      end

      # @return [true, Integer] like a real publisher: with `wait: true`, one subscribed server
      def publish(channel, json, wait: false, **)
        parsed = JSON.parse(json)
        record(push(channel, parsed) || publication(channel, parsed))
        wait ? 1 : true
      end

      # Records what {NoDevent::Realtime} sends to the server.
      # @param path [String] "pages" or "push"
      # @param json [String] as the server would receive it
      # @return [void]
      def realtime(namespace, path, json)
        parsed = JSON.parse(json)
        if path == "push"
          record(Push.new(channels: parsed["channels"], message: parsed["message"], namespace: namespace))
        else
          record_subscriptions(namespace, parsed)
        end
      end

      # Records a message for mailboxes.
      # @param json [String] as the server would receive it
      # @return [Array<String>] an id for each user, as if all of them were known
      def notify(namespace, json)
        parsed = JSON.parse(json)
        record(Notification.new(users: parsed["users"], event: parsed["event"], message: parsed["message"],
                                namespace: namespace, ttl: parsed["ttl"], key: parsed["key"]))
        id = @entries.size.to_s
        parsed["users"].map { id }
      end

      # Records a revocation.
      # @param json [String] as the server would receive it
      # @return [void]
      def revoke(namespace, json)
        parsed = JSON.parse(json)
        record(Revocation.new(user: parsed["user"], room: parsed["room"], before: parsed["before"],
                              namespace: namespace))
      end

      # @return [Array<Publication>] those of the current test; outside of tests, all
      def publications
        recorded(Publication)
      end

      # @return [Array<Notification>] those of the current test; outside of tests, all
      def notifications
        recorded(Notification)
      end

      # @return [Array<Revocation>] those of the current test; outside of tests, all
      def revocations
        recorded(Revocation)
      end

      # @return [Array<Subscription>] those of the current test; outside of tests, all
      def subscriptions
        recorded(Subscription)
      end

      # @return [Array<Push>] those of the current test; outside of tests, all
      def pushes
        recorded(Push)
      end

      # Deletes those of the current test; outside of tests, all.
      def clear
        forget(Context.current)
      end

      # @param context [Context, nil] the test; all if nil
      def forget(context)
        context ? @entries.delete_if { |owner, _| owner.equal?(context) } : @entries.clear
      end

      private

      def publication(namespace, parsed)
        Publication.new(room: parsed["room"], event: parsed["event"], message: parsed["message"], namespace: namespace,
                        rooms: parsed["rooms"], users: parsed["users"], broadcast: parsed["broadcast"])
      end

      # @return [Push, nil] nil if it is not one
      def push(namespace, parsed)
        return unless parsed.key?("user") || parsed["room"].to_s.start_with?(NoDevent::Realtime::Channels::ROOM_PREFIX)

        Push.new(channels: [parsed["event"]], message: parsed["message"], page: parsed["user"], namespace: namespace)
      end

      def record_subscriptions(namespace, parsed)
        { "unsubscribe" => "unsubscribed", "subscribe" => "subscribed" }.each do |key, verb|
          (parsed[key] || []).each do |channel|
            record(Subscription.new(channel: channel, verb: verb, page: parsed["page"], namespace: namespace))
          end
        end
      end

      def record(entry)
        @entries << [Context.current || Context.only, entry.freeze]
      end

      def recorded(kind)
        entries = @entries.dup
        context = Context.current
        entries.select! { |owner, _| owner.equal?(context) } if context
        entries.map(&:last).grep(kind)
      end
    end
  end
end
