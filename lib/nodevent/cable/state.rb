# frozen_string_literal: true

require "json"

module NoDevent
  module Cable
    # What connections and channels keep between two commands: `identified_by`, and `state_attr_accessor`. The server
    # carries it as texts. Instance variables do not last, because each command is a request of its own.
    #
    # @example
    #   class ChatChannel < ApplicationCable::Channel
    #     state_attr_accessor :room
    #
    #     def subscribed
    #       self.room = Room.find(params[:id])
    #       stream_for room
    #     end
    #
    #     def speak(data)
    #       room.messages.create!(data.slice("text"))
    #     end
    #   end
    module State
      # What a text begins with that is a record's global id, and not JSON.
      RECORD = "gid://"

      private_constant :RECORD

      # A value that cannot be kept.
      class Unsupported < StandardError; end

      # Extends the classes of connections and channels.
      module Accessors
        # Defines attributes that last between commands. With Action Cable itself they are plain attributes.
        # @param names [Array<Symbol>]
        # @return [void]
        def state_attr_accessor(*names)
          names.each { |name| attr_accessor name }
          self.nodevent_state_names += names
        end
      end

      class << self
        # @return [Hash{String => String}] the values, as texts
        # @raise [Unsupported]
        def dump(object, names)
          values = names.to_h { |name| [name.to_s, object.instance_variable_get(:"@#{name}")] }.compact
          values.to_h { |name, value| [name, text(name, value)] }
        end

        # Sets the instance variables.
        # @param texts [Hash{String => String}] see {dump}
        # @return [void]
        # @raise [ActiveRecord::RecordNotFound] if a record does not exist any more; the others are set
        def load(object, names, texts)
          failed = nil
          names.each do |name|
            text = texts[name.to_s]
            object.instance_variable_set(:"@#{name}", value(text)) if text
          rescue StandardError => e
            failed ||= e
          end
          raise failed if failed
        end

        private

        def text(name, value)
          return value.to_gid.to_s if value.respond_to?(:to_gid) && value.respond_to?(:id)

          plain = case value
                  when String, Integer, Float, true, false then value
                  when Symbol then value.to_s
                  when Array, Hash then same(value)
                  end
          raise Unsupported, unsupported(name, value) if plain.nil?

          JSON.generate(plain)
        end

        # What JSON returns as it was.
        def same(value)
          value if JSON.parse(JSON.generate(value)) == value
        rescue JSON::GeneratorError
          nil
        end

        def value(text)
          text.start_with?(RECORD) ? GlobalID::Locator.locate(text) : JSON.parse(text)
        end

        def unsupported(name, value)
          "#{name} is an object of the class #{Reflection.class_of(value)}, which cannot be kept between commands; " \
            "keep a record, a text, a number, or a list or map of these with texts as keys"
        end
      end
    end
  end
end
