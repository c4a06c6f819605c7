# frozen_string_literal: true

module NoDevent
  class Configuration
    # Reads the `history` section: how much history each room keeps. The server reads the same section; both must agree,
    # because with Redis the publisher stores the history.
    module History
      DEFAULT = { size: 100, age: 300_000 }.freeze
      OFF = [false, "off", "false"].freeze
      ON = [nil, true, "on", "true"].freeze

      private_constant :DEFAULT, :OFF, :ON

      class << self
        # @param section [Object] the section as written
        # @param values [Values]
        # @param invalid [#call] receives the key below `history`, or nil, and the problem
        # @return [Hash] `default` and `prefixes`; ages in milliseconds
        def read(section, values, invalid)
          return { default: nil, prefixes: [] } if OFF.include?(section)
          return { default: DEFAULT, prefixes: [] } if ON.include?(section)
          return { default: DEFAULT.merge(age: age(section, values, invalid)), prefixes: [] } unless section.is_a?(Hash)

          default = retention("", section, DEFAULT, values)
          { default: default, prefixes: prefixes(section["rooms"], default, values, invalid) }
        end

        private

        def age(section, values, invalid)
          return milliseconds("history", section, values) if section.to_s.match?(/\A\d/)

          invalid.call(nil, "is #{section.inspect}; write off, or {size: 100, age: 5m}")
        end

        def retention(below, section, default, values)
          { size: values.count("history#{below}.size", section["size"], default[:size]),
            age: section["age"] ? milliseconds("history#{below}.age", section["age"], values) : default[:age] }
        end

        def prefixes(rooms, default, values, invalid)
          return [] if rooms.nil?
          return invalid.call("rooms", "is #{rooms.class}, not a mapping of prefixes") unless rooms.is_a?(Hash)

          rooms.map do |prefix, section|
            unless OFF.include?(section) || section.is_a?(Hash)
              invalid.call("rooms.#{prefix}", "is #{section.inspect}; write off, or {size: 100, age: 5m}")
            end
            own = section.is_a?(Hash) ? retention(".rooms.#{prefix}", section, default, values) : nil
            [prefix.to_s.sub(/\*+\z/, ""), own]
          end
        end

        def milliseconds(place, section, values)
          (values.seconds(place, section, nil) * 1000).round
        end
      end
    end
  end
end
