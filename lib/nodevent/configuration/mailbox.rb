# frozen_string_literal: true

module NoDevent
  class Configuration
    # Reads the `mailbox` section, and the limits of messages: what mailboxes store. The server reads the same section;
    # both must agree, because with Redis `notify` stores a message itself.
    class Mailbox
      DEFAULT = { count: 1000, bytes: 1024 * 1024, age: 3_600_000, keep_unknown: false }.freeze
      # The limits of the server: the key in `limits`, and its default.
      LIMITS = { max_mailboxes: 100_000, max_mailbox_message: 64 * 1024, max_notified_users: 1000 }.freeze

      private_constant :DEFAULT, :LIMITS

      # @param values [Values]
      # @return [Hash, nil] `count`, `bytes`, `age` in milliseconds, `keep_unknown`, `max_mailboxes`, `max_message` and
      #   `max_users`. `nil`: the namespace has no mailboxes
      # @raise [ConfigurationError]
      def self.read(values)
        new(values).read
      end

      # @api private
      def initialize(values)
        @values = values
      end

      # @api private
      def read
        section = read_section or return
        limits = read_limits
        section.merge(max_mailboxes: limits[:max_mailboxes], max_users: limits[:max_notified_users],
                      max_message: [limits[:max_mailbox_message], section[:bytes]].min)
      end

      private

      def read_section
        node = @values.node("mailbox")
        case node&.value.then { |value| value.is_a?(String) ? value.downcase : value }
        when nil, *Values::NO then nil
        when *Values::YES then DEFAULT
        when Hash then mapping(node.value)
        when /\A[\d.]/ then DEFAULT.merge(age: milliseconds("mailbox", node))
        else
          @values.invalid!(node, "mailbox", "is neither on, off, nor an age; write on, off, or {count: 1000, age: 1h}")
        end
      end

      def mapping(section)
        { count: @values.count("mailbox.count", section["count"], DEFAULT[:count], 1..100_000),
          bytes: @values.size("mailbox.bytes", section["bytes"], DEFAULT[:bytes]),
          age: section["age"] ? milliseconds("mailbox.age", section["age"]) : DEFAULT[:age],
          keep_unknown: keep_unknown?(section["unknown"]) }
      end

      def keep_unknown?(node)
        text = @values.text("mailbox.unknown", node)
        return text == "keep" if [nil, "drop", "keep"].include?(text)

        @values.invalid!(node, "mailbox.unknown", "is not one of its words; write drop or keep")
      end

      def read_limits
        given = @values.mapping("limits")
        LIMITS.to_h do |name, default|
          node = given[name.to_s]
          read = name == :max_mailbox_message ? @values.method(:size) : @values.method(:count)
          [name, read.call("limits.#{name}", node, default)]
        end
      end

      def milliseconds(key, node)
        (@values.seconds(key, node, nil) * 1000).round
      end
    end
  end
end
