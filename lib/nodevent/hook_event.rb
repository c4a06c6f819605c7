# frozen_string_literal: true

require "json"

module NoDevent
  # What the server notifies the application of. It may arrive more than once, with the same {#id}.
  #
  # @example
  #   NoDevent.on(:left) { |event| User.find(event.user).touch(:last_seen_at) if event.room == "Lobby" }
  class HookEvent
    # @return [Symbol] `:connected`, `:disconnected`, `:entered`, `:left` or `:delivered`
    attr_reader :type
    # @return [String] the same for each delivery of one event
    attr_reader :id
    # @return [String] with its leading slash
    attr_reader :namespace
    # @return [Time] when it happened
    attr_reader :at

    # @api private
    # @param namespace [String]
    # @param json [Hash] the event as the server sent it
    def initialize(namespace, json)
      @namespace = namespace
      @json = json
      @type = json.fetch("type").to_sym
      @id = json.fetch("id")
      @at = Time.at(json.fetch("at").fdiv(1000))
      freeze
    end

    # @return [String, nil] who has connected, disconnected, entered or left. Of `:delivered`, the user to whom the
    #   event was published
    def user = @json["user"]

    # @return [Object, nil] what the user's token says: `info`
    def info = @json["info"]

    # @return [String, nil] the room of `:entered`, `:left` and `:delivered`
    def room = @json["room"]

    # @return [Integer, nil] the members of the room after `:entered` and `:left`
    def count = @json["count"]

    # @return [String, nil] the connection of `:connected` and `:disconnected`
    def connection = @json["connection"]

    # @return [String, nil] why the client of `:disconnected` is gone
    def reason = @json["reason"]

    # @return [Integer, nil] for how long it was connected, in seconds
    def seconds = @json["seconds"]

    # @return [String, nil] the name of the event that `:delivered` is about
    def event = @json.dig("publication", "event")

    # @return [Object, nil] its message
    def message = @json.dig("publication", "message")

    # @return [Hash{String => Object}] everything, for jobs: {NoDevent::HookEvent.from} reads it
    def to_h = { "namespace" => namespace }.merge(@json)

    # @param hash [Hash] what {#to_h} has returned
    # @return [HookEvent]
    def self.from(hash)
      new(hash.fetch("namespace"), hash.except("namespace"))
    end

    def inspect
      "#<#{self.class} #{type} #{id}>"
    end
  end
end
