# frozen_string_literal: true

module NoDevent
  class Configuration
    # The `history` section: what is kept of which rooms. The server reads the same section; both must agree, since
    # with Redis it is the publisher that keeps.
    module History
      USUAL = { size: 100, age: 300_000 }.freeze
      OFF = [false, "off", "false"].freeze
      ON = [nil, true, "on", "true"].freeze

      private_constant :USUAL, :OFF, :ON

      class << self
        # @param found [Object] the section as it was written
        # @param values [Values]
        # @param refuse [#call] takes the key below `history`, or nil, and the problem
        # @return [Hash] `usual` and `prefixes`, for the native publisher; ages in milliseconds
        def target(found, values, refuse)
          return { usual: nil, prefixes: [] } if OFF.include?(found)
          return { usual: USUAL, prefixes: [] } if ON.include?(found)
          return { usual: USUAL.merge(age: age(found, values, refuse)), prefixes: [] } unless found.is_a?(Hash)

          usual = kept("", found, USUAL, values)
          { usual: usual, prefixes: prefixes(found["rooms"], usual, values, refuse) }
        end

        private

        def age(found, values, refuse)
          return milliseconds("history", found, values) if found.to_s.match?(/\A\d/)

          refuse.call(nil, "is #{found.inspect}; write off, or {size: 100, age: 5m}")
        end

        def kept(below, found, usual, values)
          { size: values.count("history#{below}.size", found["size"], usual[:size]),
            age: found["age"] ? milliseconds("history#{below}.age", found["age"], values) : usual[:age] }
        end

        def prefixes(rooms, usual, values, refuse)
          return [] if rooms.nil?
          return refuse.call("rooms", "is #{rooms.class}, not a mapping of prefixes") unless rooms.is_a?(Hash)

          rooms.map do |prefix, found|
            unless OFF.include?(found) || found.is_a?(Hash)
              refuse.call("rooms.#{prefix}", "is #{found.inspect}; write off, or {size: 100, age: 5m}")
            end
            own = found.is_a?(Hash) ? kept(".rooms.#{prefix}", found, usual, values) : nil
            [prefix.to_s.sub(/\*+\z/, ""), own]
          end
        end

        def milliseconds(place, found, values)
          (values.seconds(place, found, nil) * 1000).round
        end
      end
    end
  end
end
