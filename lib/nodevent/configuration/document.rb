# frozen_string_literal: true

require "nodevent/configuration/redacted"
require "nodevent/configuration/tree"
require "nodevent/credentials"

module NoDevent
  class Configuration
    # A configuration as written: finds and reads the file and selects the environment's section. It does not know what
    # the keys mean; it knows their lines, for messages.
    class Document
      include Unprintable

      # The names of mappings that are sections.
      COMMON = %w[shared development test production staging].freeze
      NAME = /\A[A-Za-z_][A-Za-z0-9_]*\z/
      # Variables that name the environment whose section is read, in this order.
      ENVIRONMENTS = %w[NODEVENT_ENV RAILS_ENV RACK_ENV].freeze
      # A variable in a text, and perhaps its default.
      VARIABLE = /\$\{([A-Za-z_][A-Za-z0-9_]*)(:-[^}]*)?\}/

      private_constant :COMMON, :NAME, :ENVIRONMENTS, :VARIABLE

      # @return [Hash{String => Tree::Node}] the top-level keys; with sections, those of `shared` and of the
      #   environment's section
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
          node = Tree.parse(File.read(path, encoding: "UTF-8"), json: path.end_with?(".json"))
          new(node, path)
        rescue Tree::SyntaxError => e
          raise ConfigurationError, "#{path}:#{e.line}:#{e.column}: #{e.message}"
        rescue SystemCallError => e
          raise ConfigurationError, "#{path}: cannot be read: #{e.message[/\A[^@]*/].strip}"
        end

        # @param settings [#to_h]
        def from_hash(settings)
          new(Tree.wrap(settings.to_h), nil, settings)
        end

        # @return [String] the environment, which selects the section
        def environment
          variable = environment_variable
          variable ? ENV.fetch(variable) : "development"
        end

        # @return [String, nil] the variable that names it
        def environment_variable
          ENVIRONMENTS.find { |name| !ENV.fetch(name, "").empty? }
        end
      end

      def initialize(root, path, settings = nil)
        @path = path
        @settings = settings
        @top = sections(root)
      end

      # @return [Object, nil] a top-level setting as it was given
      def raw(key)
        return @settings.to_h.transform_keys(&:to_s)[key] if @settings && !@settings.is_a?(Configuration)

        top[key] && Tree.unwrap(top[key])
      end

      # @return [Boolean] whether a file's value depends on the environment
      def variable?(node)
        case node&.value
        when Hash then node.value.each_value.any? { |each| variable?(each) }
        when Array then node.value.any? { |each| variable?(each) }
        when String then path ? node.value.include?("${") : false
        else false
        end
      end

      # Replaces `${NAME}` and `${NAME:-default}` in a file's text by environment variables.
      # @param key [String] for messages
      # @return [Tree::Node] the node with all variables replaced
      # @raise [ConfigurationError] if a variable is not set
      def interpolate(node, key)
        value = case node.value
                when Hash
                  node.value.to_h { |name, each| [name, interpolate(each, "#{key}.#{Tree.shown_key(name)}")] }
                when Array then node.value.each_with_index.map { |each, index| interpolate(each, "#{key}[#{index}]") }
                when String then path ? interpolate_text(node, key) : node.value
                end
        Tree::Node.new(value: value, line: node.line, column: node.column)
      end

      # @return [Array<Array(String, Integer)>] the variables without a default that are missing, and their first lines
      def missing_variables
        found = {}
        walk(Tree::Node.new(value: path ? top : {})) do |node|
          node.value.scan(VARIABLE) { |name, default| found[name] ||= node.line if lacks?(name, default) }
        end
        found.to_a
      end

      # @return [String, nil] the section that was read; nil if the file has none
      attr_reader :section

      # @param node [Tree::Node, nil] the value
      # @raise [ConfigurationError] always, with file, line and key
      def invalid!(node, key, problem)
        where = path ? [path, node&.line, node&.line && node&.column].compact.join(":") : "NoDevent::Emitter.config"
        raise ConfigurationError, "#{where}: #{key} #{problem}"
      end

      # Without the settings, which contain secrets.
      def inspect
        "#<#{self.class}>"
      end

      private

      def sections(root)
        unless root.value.is_a?(Hash)
          kind = root.value.is_a?(Array) ? "list" : "text"
          raise ConfigurationError, "#{path}:#{root.line}:#{root.column}: is a #{kind}, not a " \
                                    "mapping of keys to values"
        end

        environment = self.class.environment
        section = root.value[environment]
        return no_section(root, environment) unless section && section.value.is_a?(Hash)

        @section = environment
        shared = root.value["shared"]
        (shared && shared.value.is_a?(Hash) ? Tree.merge(shared, section) : section).value
      end

      # A file without sections is for every environment. A file with sections must have the environment's, as the
      # server requires too. `shared` is a section; a file with only `shared` would otherwise appear to have no
      # settings.
      def no_section(root, environment)
        sections = root.value.keys.select { |key| root.value[key].value.is_a?(Hash) && COMMON.include?(key) }
        return root.value if sections.empty?

        only = sections.size == 1 ? "is only the section" : "are only the sections"
        invalid!(root, "the environment", "is `#{environment}`, but there #{only} #{sections.join(', ')}; " \
                                          "add `#{environment}: {}`, or select another with NODEVENT_ENV")
      end

      def interpolate_text(node, key)
        text = node.value
        out = +""
        while (start = text.index("${"))
          out << text[0...start]
          inside, close, text = text[(start + 2)..].partition("}")
          invalid!(node, key, "has a `${` without `}`; write ${NAME} or ${NAME:-default}") if close.empty?
          out << variable(node, key, inside)
        end
        out << text
      end

      def variable(node, key, inside)
        name, separator, default = inside.partition(":-")
        invalid!(node, key, "has `${…}` inside `${…}`, which is not supported") if inside.include?("${")
        invalid!(node, key, "has a `${…}` without the name of a variable; write ${NAME}") unless name.match?(NAME)

        given = ENV.fetch(name, "")
        return given unless given.empty?

        given = Credentials.value(name)
        return given if given
        return default unless separator.empty?

        invalid!(node, key, "requires the environment variable #{name}; set it, or write ${#{name}:-default}")
      rescue Credentials::Unreadable => e
        invalid!(node, key, "requires the environment variable #{name}: #{e.message}")
      end

      # Whether a variable has neither a value nor a default.
      def lacks?(name, default)
        default.nil? && ENV.fetch(name, "").empty? && Credentials.value(name).nil?
      rescue Credentials::Unreadable
        true
      end

      def walk(node, &block)
        case node.value
        when Hash then node.value.each_value { |each| walk(each, &block) }
        when Array then node.value.each { |each| walk(each, &block) }
        when String then yield node
        end
      end
    end
  end
end
