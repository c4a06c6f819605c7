# frozen_string_literal: true

require "rails/generators/base"
require "securerandom"

module Nodevent
  module Generators
    # `rails generate nodevent:install`: the files for a first live page. Running it again changes nothing that is
    # there.
    class InstallGenerator < Rails::Generators::Base
      source_root File.expand_path("templates", __dir__)
      desc "Creates config/nodevent.yml with a fresh secret, a line in config/puma.rb, the layout's tag, and a sample."

      LAYOUTS = %w[erb haml slim].map { |kind| "app/views/layouts/application.html.#{kind}" }.freeze
      HELPER = "javascript_include_nodevent"
      CALL = "#{HELPER} async: true".freeze
      TAG = "<%= #{CALL} %>".freeze
      CONFIGURATION = "config/nodevent.yml"
      SAMPLE = "app/views/nodevent/_sample.html.erb"
      PUMA = "config/puma.rb"
      PLUGIN = "\n# Runs NoDevent's server in development, and where NODEVENT_IN_PUMA=1 is set.\nplugin :nodevent\n"
      PROCESS = "nodevent: bundle exec nodevent config/nodevent.yml\n"
      PROCESSES = "web: bin/rails server\n#{PROCESS}".freeze
      POLICY = "config/initializers/content_security_policy.rb"

      private_constant :LAYOUTS, :HELPER, :CALL, :TAG, :CONFIGURATION, :SAMPLE, :PUMA, :PLUGIN, :PROCESS,
                       :PROCESSES, :POLICY

      # Creates the configuration of the application and the server.
      def configuration
        create_once "nodevent.yml.tt", CONFIGURATION
      end

      # Makes `bin/rails server` start the server together with Puma. Without a configuration of Puma, a line in
      # Procfile.dev does it, for `bin/dev` or `foreman start -f Procfile.dev`.
      def server
        if line?("Procfile.dev", /^\s*nodevent\s*:/)
          say_status(:identical, "Procfile.dev", :blue)
        elsif !File.exist?(path(PUMA))
          File.exist?(path("Procfile.dev")) ? append("Procfile.dev", PROCESS) : create_file("Procfile.dev", PROCESSES)
        elsif line?(PUMA, /^\s*plugin\b.*\bnodevent\b/)
          say_status(:identical, PUMA, :blue)
        else
          append(PUMA, PLUGIN)
        end
      end

      # Adds the script tag to every page.
      def layout
        file = LAYOUTS.find { |name| File.exist?(path(name)) }
        return by_hand("there is no #{LAYOUTS.first}; add #{TAG} to the head of your layouts") unless file
        return say_status(:identical, file, :blue) if read(file).include?(HELPER)

        changed = with_tag(read(file), File.extname(file))
        return by_hand("#{file} has no head; add #{TAG} where your pages load scripts") unless changed

        say_status :insert, file
        File.binwrite(path(file), changed) unless options[:pretend]
      end

      # Creates a sample to try.
      def sample
        create_once "_sample.html.erb", SAMPLE
      end

      # Prints the next steps.
      def next_steps
        say <<~TEXT

          Next: start both with #{start}, add
            <%= render "nodevent/sample" %>
          to a view, open it, and run in `rails console`
            NoDevent::Emitter.emit("sample", "hello", "world")
          For models: `include NoDevent::Base` and `emits_changes`. If events do not arrive: `rake nodevent:doctor`.
        TEXT
        say policy if policy?
      end

      private

      def start
        File.exist?(path(PUMA)) ? "`bin/rails server`" : "`bin/dev` or `foreman start -f Procfile.dev`"
      end

      def line?(file, pattern)
        File.exist?(path(file)) && read(file).match?(pattern)
      end

      def append(file, line)
        text = read(file)
        append_to_file file, text.empty? || text.end_with?("\n") ? line : "\n#{line}"
      end

      def path(name)
        File.expand_path(name, destination_root)
      end

      def read(name)
        File.binread(path(name)).force_encoding(Encoding::UTF_8)
      end

      # Never replaces a secret that is in use, nor what was edited.
      def create_once(source, target)
        return say_status(:exist, target, :blue) if File.exist?(path(target)) && !options[:force]

        template source, target
      end

      def by_hand(message)
        say_status :skip, message, :yellow
      end

      def with_tag(text, kind)
        case kind
        when ".erb" then with_erb_tag(text)
        when ".haml" then with_indented_tag(text, /^([ \t]*)%head\b[^\r\n]*/)
        else with_indented_tag(text, /^([ \t]*)head\b[^\r\n]*/)
        end
      end

      # Before `</head>`, wherever in its line that is.
      def with_erb_tag(text)
        head = text.index(%r{</head\s*>}i) or return

        before = text[0...head]
        newline = text.include?("\r\n") ? "\r\n" : "\n"
        indent = before[/(?<=\A|\n)[ \t]*\z/]
        return "#{before}#{TAG}#{text[head..]}" unless indent

        "#{before.delete_suffix(indent)}#{indent}  #{TAG}#{newline}#{indent}#{text[head..]}"
      end

      # As the first child, because children are recognized by their indentation.
      def with_indented_tag(text, head)
        match = text.match(head) or return

        newline = text.include?("\r\n") ? "\r\n" : "\n"
        rest = match.post_match.delete_prefix(newline)
        child = rest[/\A([ \t]+)\S/, 1]
        indent = child && child.size > match[1].size ? child : "#{match[1]}  "
        "#{match.pre_match}#{match[0].chomp}#{newline}#{indent}= #{CALL}#{newline}#{rest}"
      end

      def policy?
        File.exist?(path(POLICY)) && read(POLICY).match?(/^[^#\n]*content_security_policy\b/)
      end

      def policy
        <<~TEXT
          The application has a Content-Security-Policy. In #{POLICY}, allow the server:
            policy.connect_src :self, -> { NoDevent::Emitter.config["public_url"] },
                               -> { NoDevent::Emitter.config["public_url"].sub(/\\Ahttp/, "ws") }
          and allow its scripts, by a nonce (config.content_security_policy_nonce_generator) or by address and hash:
            policy.script_src :self, -> { NoDevent::Emitter.config["public_url"] }, NoDevent.csp_hash
        TEXT
      end
    end
  end
end
