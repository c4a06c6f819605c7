# frozen_string_literal: true

require "nodevent/cable/method_body"
require "ripper"

module NoDevent
  module Cable
    # Finds in the application's channels what cannot work if the server calls them, by reading the code: instance
    # variables that one command sets and another one reads, periodic timers, and streams with a block, a callback or a
    # coder. `rake nodevent:cable:check` prints what it finds.
    class Check
      # What was found.
      Finding = Struct.new(:path, :line, :message) do
        def to_s
          "#{path}:#{line}: #{message}"
        end
      end

      STREAMS = %w[stream_from stream_for].freeze
      # What Rails calls, besides public methods.
      ENTRIES = %w[subscribed unsubscribed connect disconnect].freeze
      CALLBACKS = %w[before_subscribe after_subscribe on_subscribe before_unsubscribe after_unsubscribe on_unsubscribe
                     before_command after_command around_command].freeze

      private_constant :STREAMS, :ENTRIES, :CALLBACKS

      # @param root [String] the folder of the application
      # @param pattern [String] the files to read, below it
      # @return [Array<Finding>]
      def self.findings(root, pattern = "app/channels/**/*.rb")
        Dir.glob(pattern, base: root).sort.flat_map { |path| new(path, File.read(File.join(root, path))).findings }
      end

      # Prints the findings.
      # @param root [String] see {findings}
      # @param out [IO]
      # @return [Boolean] whether there are none
      def self.report(root, out: $stdout)
        found = findings(root)
        found.each { |finding| out.puts(Text.line(finding.to_s)) }
        out.puts(found.empty? ? "ok: nothing in app/channels needs to change" : "#{found.size} to change")
        out.flush
        found.empty?
      end

      # @api private
      def initialize(path, text)
        @path = path
        @tree = Ripper.sexp(text)
        @findings = []
      end

      # @return [Array<Finding>] in the order of their lines
      def findings
        return [Finding.new(@path, 1, "the file is not valid Ruby")] if @tree.nil?

        walk(@tree)
        classes(@tree).each { |bodies| check_variables(bodies) }
        @findings.uniq.sort_by(&:line)
      end

      private

      def add(line, message)
        @findings << Finding.new(@path, line, message)
      end

      # Visits the nodes of a tree.
      def each(node, &block)
        return unless node.is_a?(Array)

        yield node if node.first.is_a?(Symbol)
        node.each { |child| each(child, &block) }
      end

      def walk(tree)
        each(tree) do |node|
          name, line, = call_of(node)
          if name == "periodically"
            add(line, "`periodically` does not run, because no channel lasts between commands: use a recurring job")
          end
          node.first == :method_add_block ? check_block(node[1]) : check_stream(node)
        end
      end

      def check_block(call)
        name, line, = call_of(call)
        return unless STREAMS.include?(name)

        add_handler(line, name, "block")
      end

      def check_stream(node)
        name, line, arguments = call_of(node)
        return unless STREAMS.include?(name) && arguments

        if arguments.any? { |argument| label?(argument, "coder:") }
          add(line, "`#{name}` with a coder cannot work: messages are JSON")
        end
        positional = arguments.reject { |argument| argument.first == :bare_assoc_hash }
        return unless positional.size > 1 || block_argument?(node)

        add_handler(line, name, "callback")
      end

      def add_handler(line, name, kind)
        add(line, "`#{name}` with a #{kind} cannot work, because the server delivers messages without Ruby: " \
                  "transform them before they are broadcast")
      end

      # The name, the line and the arguments of a call without a receiver.
      def call_of(node)
        node = [:command, node[1][1], *node.drop(2)] if node in [:method_add_arg, [:fcall, _], *]
        return unless node in [:command, [:@ident, name, [line, _]], arguments]

        [name, line, list(arguments)]
      end

      def list(arguments)
        arguments = arguments[1] if arguments&.first == :arg_paren
        arguments = arguments[1] if arguments&.first == :args_add_block
        arguments.is_a?(Array) && arguments.first.is_a?(Array) ? arguments : []
      end

      def block_argument?(node)
        found = false
        each(node) { |one| found ||= one.first == :args_add_block && one[2].is_a?(Array) }
        found
      end

      def label?(argument, label)
        found = false
        each(argument) { |node| found ||= node.first == :@label && node[1] == label }
        found
      end

      def classes(tree)
        found = []
        each(tree) do |node|
          found << methods_of(node) if node.first == :class
        end
        found
      end

      # The methods of a class, by name.
      def methods_of(node)
        bodies = {}
        visible = true
        entries = []
        statements(node.last).each do |statement|
          case statement
          in [:vcall, [:@ident, ("private" | "protected"), _]] then visible = false
          in [:vcall, [:@ident, "public", _]] then visible = true
          in [:def, [_, name, _], *] then bodies[name] = MethodBody.new(statement, visible)
          in [:command, [:@ident, ("private" | "protected"), _], [_, [[:def, [_, name, _], *] => inner], *]]
            bodies[name] = MethodBody.new(inner, false)
          else entries.concat(symbols(statement)) if CALLBACKS.include?(call_of(statement)&.first)
          end
        end
        entries.each { |name| bodies[name]&.public = true }
        bodies
      end

      def statements(body)
        case body
        in [:bodystmt, Array => list, *] then list
        else []
        end
      end

      def symbols(statement)
        names = []
        each(statement) { |one| names << one[1][1] if one.first == :symbol }
        names
      end

      # A variable that a command reads and only another one sets.
      def check_variables(methods)
        entries = methods.select { |name, body| body.public || ENTRIES.include?(name) }
        reached = entries.to_h { |name, _| [name, reach(methods, name)] }
        reached.each do |name, bodies|
          own = bodies.flat_map { |body| body.sets.keys }
          bodies.each do |body|
            body.reads.except(*own).each { |variable, line| check_variable(reached, name, variable, line) }
          end
        end
      end

      def check_variable(reached, name, variable, line)
        setter = reached.find { |_, bodies| bodies.any? { |body| body.sets.key?(variable) } }
        return unless setter

        accessor = "state_attr_accessor :#{variable.delete_prefix('@')}"
        add(line, "#{variable} is set in `#{setter.first}` and read in `#{name}`, but instance variables do not last " \
                  "between commands: write `#{accessor}`, and `self.` to set it")
      end

      # The methods that a method calls, with itself.
      def reach(methods, name, seen = {})
        body = methods[name]
        return [] if body.nil? || seen[name]

        seen[name] = true
        [body] + body.calls.flat_map { |called| reach(methods, called, seen) }
      end
    end
  end
end
