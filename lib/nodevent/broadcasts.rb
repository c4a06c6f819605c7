# frozen_string_literal: true

require "nodevent/streams"

module NoDevent
  # `broadcasts_nodevent`, a macro for Active Record classes: their changes are Turbo Streams. Rails adds it to all
  # models.
  module Broadcasts
    ACTIONS = %i[create update destroy].freeze
    INSERTS = %i[append prepend before after].freeze

    private_constant :ACTIONS, :INSERTS

    # Publishes a Turbo Stream after the commit of each change, for pages with `nodevent_stream_from`. A new record is
    # inserted, a changed one replaced, a destroyed one removed; by the record's partial, whose element has the id
    # `dom_id(record)`. Includes {Base}.
    #
    # @param on [Array<Symbol>] one or more of `:create`, `:update`, `:destroy`
    # @param refreshes [Boolean] whether pages load and morph themselves instead
    # @param except [:page, nil] `:page`: the page that made the request does not receive the stream. The default with
    #   `refreshes: true`
    # @param options [Hash] the options below
    # @option options [Symbol, Proc, String, nil] :to the stream: a method's name, a block that takes the record, or a
    #   text. Of what they return, an Array names one stream, as the arguments of `nodevent_stream_from` do; for `nil`
    #   nothing is published. By default every change goes to the stream of the class, and `update` and `destroy` also
    #   to that of the record
    # @option options [Symbol] :inserts_by `:append`, `:prepend`, `:before` or `:after`
    # @option options [String, Proc, nil] :target the DOM id of the element that contains the records, by default the
    #   plural of the model's name: `"comments"`
    # @option options [String, nil] :partial by default that of the record: `"comments/comment"`
    # @option options [Hash, Proc] :locals more local variables of the partial
    # @return [void]
    # @raise [ArgumentError] for other values, or if the class has no `after_commit`
    # @example
    #   broadcasts_nodevent                                            # nodevent_stream_from Comment, or @comment
    #   broadcasts_nodevent to: :discussion                            # nodevent_stream_from @discussion
    #   broadcasts_nodevent to: ->(comment) { [comment.discussion, :comments] }, inserts_by: :prepend
    #   broadcasts_nodevent to: :discussion, refreshes: true
    def broadcasts_nodevent(on: ACTIONS, refreshes: false, except: refreshes ? :page : nil, **options)
      actions = Array(on).map(&:to_sym)
      Broadcasts.check(actions, ACTIONS, "on:")
      Broadcasts.check([options[:inserts_by] || :append], INSERTS, "inserts_by:")
      Broadcasts.check([except || :page], [:page], "except:")
      raise ArgumentError, "broadcasts_nodevent requires Active Record's after_commit" unless respond_to?(:after_commit)

      include Base unless include?(Base)
      broadcast = Broadcast.new(refreshes: refreshes, except: except, **options)
      actions.each { |action| after_commit(on: action) { broadcast.publish(self, action) } }
    end

    # @api private
    def self.check(values, known, name)
      unknown = values - known
      return if unknown.empty?

      raise ArgumentError, "#{name} is #{Text.value(unknown.first)}; write one or more of #{known.inspect}"
    end

    # What one call of the macro publishes.
    # @api private
    class Broadcast
      DEFAULTS = { to: nil, inserts_by: :append, target: nil, partial: nil, locals: {} }.freeze

      private_constant :DEFAULTS

      def initialize(refreshes:, except:, **settings)
        unknown = settings.keys - DEFAULTS.keys
        raise ArgumentError, "unknown keyword: #{Text.value(unknown.first)}" if unknown.any?

        @to, @inserts_by, @target, @partial, @locals = DEFAULTS.merge(settings).values
        @refreshes = refreshes
        @options = except ? { except: except }.freeze : {}.freeze
      end

      # @param record [Base]
      # @param change [Symbol] `:create`, `:update` or `:destroy`
      # @return [void]
      def publish(record, change)
        return if Record.silenced?(record)

        rooms = rooms(record, change)
        return if rooms.empty?

        html = Encoder.encoding { stream(record, change) }
        Namespace.of(record).emit_copies(rooms, Streams::EVENT, html, @options)
      end

      private

      def rooms(record, change)
        return own_rooms(record, change) if @to.nil?

        stream = value(record, @to)
        stream.nil? ? [] : [Streams.room(stream)]
      end

      def own_rooms(record, change)
        rooms = Room.of_hierarchy(Reflection.class_of(record))
        change == :create ? rooms : Record.rooms(record) | rooms
      end

      def stream(record, change)
        return refresh if @refreshes
        return Streams.tag(action: :remove, target: dom_id(record)) if change == :destroy

        action = { action: :replace, target: dom_id(record) } if change == :update
        action ||= { action: @inserts_by, target: value(record, @target) || record.model_name.plural }
        Streams.tag(**action, partial: @partial || record.to_partial_path, locals: locals(record))
      end

      # Pages ignore a refresh that their own request has caused.
      def refresh
        id = ::Turbo.current_request_id if defined?(::Turbo) && ::Turbo.respond_to?(:current_request_id)
        Streams.tag(action: :refresh, "request-id": id)
      end

      def locals(record)
        { record.model_name.element.to_sym => record, **(value(record, @locals) || {}) }
      end

      def dom_id(record)
        ::ActionView::RecordIdentifier.dom_id(record)
      end

      def value(record, what)
        case what
        when Symbol then Reflection.call(record, what)
        when Proc then Reflection.instance_exec(record, record, &what)
        else what
        end
      end
    end
  end
end
