# frozen_string_literal: true

module NoDevent
  # How a {Namespace} gives a publication to the publisher: at once or after a commit, and as an event of Active
  # Support. It does not know what rooms are.
  # @api private
  module Delivery
    private

    # @param place [String] the room, or the targets, for logs and errors
    def emit_encoded(config, place, publication, options)
      members, options = members(options) unless options.empty?
      publication.merge!(members) if members
      send_after_commit(config, place, publication[:event], Encoder.encode(place, publication, config), options)
    end

    # `wait: true` wants the engine's result, so it does not wait for a commit unless that is wanted too.
    def send_after_commit(config, place, event, json, options)
      waits = options.fetch(:after_commit) { AfterCommit.default && !options[:wait] }
      options = options.except(:after_commit)
      return send_encoded(config, place, event, json, options) unless waits
      raise ArgumentError, "pass either wait: true or after_commit: true" if options[:wait]

      waiting = AfterCommit.wait? { send_later(config, place, event, json, options) }
      waiting ? :after_commit : send_encoded(config, place, event, json, options)
    end

    # An error must not look as if the transaction had failed.
    def send_later(config, place, event, json, options)
      send_encoded(config, place, event, json, options)
    rescue StandardError => e
      error = "#{Text.value(event)} to #{Text.value(place)} was not emitted after the commit: #{e.class}: #{e.message}"
      ErrorReporter.report(PublishError.new(Text.line(error)))
    end

    # @return [true, false, nil] nil if the publication must be written and sent by {#send_encoded}
    def queue(config, room, event, json, message)
      event = event.name if event.is_a?(::Symbol)
      route = config.route
      return if route.nil? || AfterCommit.default || !event.is_a?(::String)
      return if Instrumentation.subscribed?("emit.nodevent")

      publisher = Publisher.native(config) or return
      queued = publisher.publish_message(room, event, json, route, Encoder.unsure?(message))
      keep_fast_path(publisher, route) if queued
      queued unless queued == 0 # rubocop:disable Style/NumericPredicate -- `true.zero?` does not exist
    end

    def keep_fast_path(publisher, route)
      @fast_path = publisher.fast_path(route) unless @fast_path&.current?
    end

    def send_encoded(config, place, event, json, options)
      payload = { room: place, event: event, channel: config.namespace, bytes: json.bytesize }
      Instrumentation.instrument("emit.nodevent", payload) do |instrumented|
        instrumented[:result] = deliver(config, json, options)
      end
    end

    # Separates the members of the publication from the options of the publisher.
    def members(options)
      except = Page.hash_of(options[:except])
      copy = options[:publication_id]
      members = { except: except, publication_id: copy }.compact if except || copy
      [members, options.except(:except, :publication_id)]
    end

    def deliver(config, json, options)
      chosen = Publisher.current(config)
      Publisher.deliver(chosen, config.namespace, json, **options)
    rescue Publisher::BackgroundPublisher::Closed
      # Another thread replaced the configuration after this one chose the publisher.
      config = self.config
      chosen.equal?(Publisher.current(config)) ? raise : retry
    end
  end
end
