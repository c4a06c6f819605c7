# frozen_string_literal: true

require "json"
require "nodevent/configuration/lines"
require "yaml"

module NoDevent
  class Configuration
    # A configuration as written: finds and parses the file and selects the environment's section. It does not know what
    # the keys mean; it knows their lines, for messages.
    class Document
      # The names of mappings that are sections.
      COMMON = %w[shared development test production staging].freeze

      private_constant :COMMON

      # @return [Hash{String => Object}] the top-level keys; with sections, those of `shared` and of the environment's
      #   section
      attr_reader :top
      # @return [String, nil]
      attr_reader :path

      class << self
        # @return [String, nil] the file that NODEVENT_CONFIG names, else `config/nodevent.yml` below `root`
        def find(root)
          named = ENV.fetch("NODEVENT_CONFIG", "")
          return named unless named.empty?

          path = File.join(root.to_s, "config", "nodevent.yml")
          path if File.file?(path)
        end

        # @raise [ConfigurationError] if the file cannot be read
        def read(path)
          text = File.read(path, encoding: "BOM|UTF-8")
          new(parse(text, path), path, text)
        rescue SystemCallError => e
          raise ConfigurationError, "#{path}: cannot be read: #{e.message[/\A[^@]*/].strip}"
        end

        # @param settings [#to_h]
        def from_hash(settings)
          new(settings.to_h, nil)
        end

        # @return [String] the environment, which selects the section
        def environment
          %w[NODEVENT_ENV RAILS_ENV RACK_ENV].map { |name| ENV.fetch(name, "") }.find { |name| !name.empty? } ||
            "development"
        end

        private

        def parse(text, path)
          hash = path.end_with?(".json") ? JSON.parse(text) : load_yaml(text, path)
          return hash if hash.is_a?(Hash)

          raise ConfigurationError, "#{path}: is #{hash.class}, not a mapping of keys to values"
        rescue Psych::SyntaxError => e
          raise ConfigurationError, "#{path}:#{e.line}:#{e.column}: #{[e.problem, e.context].compact.join(' ')}"
        rescue Psych::Exception, JSON::ParserError => e
          raise ConfigurationError, "#{path}: #{e.message[0, 300]}"
        end

        def load_yaml(text, path)
          if text.include?("<%")
            raise ConfigurationError, "#{path}:#{text[0...text.index('<%')].count("\n") + 1}: ERB is not supported, " \
                                      'because the server cannot evaluate it; write "${NAME}" or "${NAME:-default}"'
          end
          YAML.safe_load(text, permitted_classes: [Symbol], aliases: true, filename: path) || {}
        end
      end

      def initialize(hash, path, text = nil)
        @path = path
        @text = text
        @top = sections(strings(hash))
      end

      # Replaces `${NAME}` and `${NAME:-default}` in a file's Strings by environment variables.
      # @return [Object] the value with all variables replaced
      # @raise [ConfigurationError] if a variable is not set
      def interpolate(value, place)
        case value
        when Hash then value.to_h { |key, each| [key, interpolate(each, "#{place}.#{key}")] }
        when Array then value.each_with_index.map { |each, index| interpolate(each, "#{place}[#{index}]") }
        when String then path ? interpolate_text(value, place) : value
        else value
        end
      end

      # @raise [ConfigurationError] always, with file, line and key
      def invalid!(place, problem)
        line = Lines.of(@text, place, [self.class.environment, "shared"]) if @text
        where = path ? [path, line].compact.join(":") : "NoDevent::Emitter.config"
        raise ConfigurationError, "#{where}: #{place} #{problem}"
      end

      private

      def strings(value)
        case value
        when Configuration then value.to_h
        when Hash then value.to_h { |key, each| [key.to_s, strings(each)] }
        when Array then value.map { |each| strings(each) }
        else value
        end
      end

      def sections(hash)
        environment = self.class.environment
        section = hash[environment]
        return no_section(hash, environment) unless section.is_a?(Hash)

        shared = hash["shared"].is_a?(Hash) ? hash["shared"] : {}
        merge(shared, section)
      end

      # A file without sections is for every environment. A file with sections must have the environment's, as the
      # server requires too. `shared` is a section; a file with only `shared` would otherwise appear to have no
      # settings.
      def no_section(hash, environment)
        sections = hash.keys.select { |key| hash[key].is_a?(Hash) && COMMON.include?(key) }
        return hash if sections.empty?

        only = sections.size == 1 ? "is only the section" : "are only the sections"
        invalid!("the environment", "is `#{environment}`, but there #{only} #{sections.join(', ')}; " \
                                    "add `#{environment}: {}`, or select another with NODEVENT_ENV")
      end

      def merge(one, other)
        one.merge(other) do |_, left, right|
          left.is_a?(Hash) && right.is_a?(Hash) ? merge(left, right) : right
        end
      end

      def interpolate_text(text, place)
        text.gsub(/\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/) do
          name = Regexp.last_match(1)
          default = Regexp.last_match(2)
          given = ENV.fetch(name, "")
          next given unless given.empty?

          default || invalid!(place, "requires the environment variable #{name}; set it, or " \
                                     "write ${#{name}:-default}")
        end
      end
    end
  end
end
