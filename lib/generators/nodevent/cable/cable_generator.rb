# frozen_string_literal: true

require "rails/generators/base"
require "securerandom"
require "generators/nodevent/layout_tag"

module Nodevent
  module Generators
    # `rails generate nodevent:cable`: an application with Action Cable and Turbo Streams uses the server from then on.
    # Running it again changes nothing that is there. `rails destroy nodevent:cable` goes back.
    class CableGenerator < Rails::Generators::Base
      include LayoutTag

      source_root File.expand_path("templates", __dir__)
      desc "Moves Action Cable and Turbo Streams to NoDevent's server; `rails destroy nodevent:cable` moves them back."

      CONFIGURATION = "config/nodevent.yml"
      CABLE = "config/cable.yml"
      BACKUP = "config/cable.yml.before_nodevent"
      PUMA = "config/puma.rb"
      PLUGIN = "\n# nodevent:cable: runs NoDevent's server in development, and where NODEVENT_IN_PUMA=1 is set.\n" \
               "plugin :nodevent\n"
      CREATED = "# Created by `rails generate nodevent:cable`."
      # What the generator has written into a file that was there, to find it again.
      BLOCK = /^ *# nodevent:cable\n.*?^ *# nodevent:cable end\n/m
      MARK = "<%# nodevent:cable %>"
      # Where Rails keeps the secret of development.
      SECRETS = %w[tmp/local_secret.txt tmp/development_secret.txt].freeze
      # A section of an environment, and what is not one.
      SECTION = /^([a-z_]\w*):[ \t]*(?:&\w+)?[ \t]*(?:#.*)?$/
      NO_ENVIRONMENT = "shared"

      private_constant :CONFIGURATION, :CABLE, :BACKUP, :PUMA, :PLUGIN, :CREATED, :BLOCK, :MARK, :SECRETS, :SECTION,
                       :NO_ENVIRONMENT

      # Adds the namespace of Action Cable to the configuration of the application and the server.
      def configuration
        return remove_configuration if behavior == :revoke
        return template("nodevent.yml.tt", CONFIGURATION) unless File.exist?(path(CONFIGURATION))
        return say_status(:identical, CONFIGURATION, :blue) if read(CONFIGURATION).match?(/protocol:.*\baction_cable\b/)

        say_status :insert, CONFIGURATION
        write CONFIGURATION, with_namespace(read(CONFIGURATION))
      end

      # Makes the application publish through the gem.
      def adapter
        return restore_adapter if behavior == :revoke
        unless File.exist?(path(CABLE))
          return by_hand("there is no #{CABLE}; write `adapter: nodevent` when you add one")
        end

        text = read(CABLE)
        changed = text.gsub(/^([ \t]*adapter:[ \t]*)(?!(?:test|nodevent)\b)[^\s#]+/, '\1nodevent')
        return say_status(:identical, CABLE, :blue) if changed == text

        say_status :gsub, CABLE
        write BACKUP, text unless File.exist?(path(BACKUP))
        write CABLE, changed
      end

      # Makes pages connect to the server.
      def address
        template "nodevent_cable.rb", "config/initializers/nodevent_cable.rb"
      end

      # Adds the tag that has the address of the server.
      def layout
        return remove_from_layout(MARK) if behavior == :revoke

        add_to_layout("action_cable_meta_tag", "action_cable_meta_tag", after: MARK)
      end

      # Makes `bin/rails server` start the server together with Puma.
      def server
        return unless File.exist?(path(PUMA))

        if behavior == :revoke
          write PUMA, read(PUMA).sub(PLUGIN, "") if read(PUMA).include?(PLUGIN)
        elsif line?(PUMA, /^\s*plugin\b.*\bnodevent\b/)
          say_status(:identical, PUMA, :blue)
        else
          append(PUMA, PLUGIN)
        end
      end

      # Prints the next steps.
      def next_steps
        return if behavior == :revoke

        say <<~TEXT

          Next: find what cannot work in your channels:
            rake nodevent:cable:check
          Then restart the application with #{File.exist?(path(PUMA)) ? '`bin/rails server`' : 'its server'}, and open a page.
          In production, the server needs SECRET_KEY_BASE, NODEVENT_PUBLISH_KEY and NODEVENT_CALLS_SECRET in its environment,
          and the application the last two. If secret_key_base is in the credentials:
            SECRET_KEY_BASE=$(bin/rails runner 'print Rails.application.secret_key_base') nodevent config/nodevent.yml
          docs/from-action-cable.md explains each step. To go back: rails destroy nodevent:cable
        TEXT
      end

      private

      def write(name, text)
        File.binwrite(path(name), text) unless options[:pretend]
      end

      # Into each environment, after its other namespaces: the first one is the default.
      def with_namespace(text)
        lines = text.lines
        lines[-1] = "#{lines[-1].chomp}\n" if lines.any?
        sections = lines.each_index.select { |index| lines[index].match?(SECTION) && environment?(lines[index]) }
        return "#{lines.join}\n#{block('', production: false)}" if sections.empty?

        sections.reverse_each do |start|
          lines.insert(end_of(lines, start), block("  ", production: lines[start].start_with?("production:")))
        end
        lines.join
      end

      def environment?(line)
        line[SECTION, 1] != NO_ENVIRONMENT
      end

      # After the last line that is indented below a section.
      def end_of(lines, start)
        rest = lines[(start + 1)..].take_while { |line| line.match?(/\A(?:[ \t]|\s*\z|#)/) }
        start + 1 + (rest.rindex { |line| line.match?(/\A[ \t]+\S/) } || -1) + 1
      end

      # The namespace, as YAML.
      def block(indent, production:)
        text = production ? production_block : local_block
        text.gsub(/^(?=.)/, indent)
      end

      def local_block
        <<~YAML
          # nodevent:cable
          /cable:
            protocol: action_cable
            # With it the application reads the positions of streams, and ends connections.
            publish_key: #{SecureRandom.hex(32)}
            action_cable:
              # That of the application: it signs the names of streams.
              #{local_secret}
            # The application's channels, and its ApplicationCable::Connection.
            calls:
              url: http://localhost:${PORT:-3000}
              secret: #{SecureRandom.hex(32)}
              handlers: /nodevent/cable
          # nodevent:cable end
        YAML
      end

      def production_block
        <<~YAML
          # nodevent:cable
          /cable:
            protocol: action_cable
            publish_key: ${NODEVENT_PUBLISH_KEY:-}
            redis: ${REDIS_URL:-redis://localhost:6379/0}
            action_cable:
              secret_key_base: ${SECRET_KEY_BASE:-}
            calls:
              # Where the server reaches the application.
              url: ${NODEVENT_APPLICATION_URL:-http://127.0.0.1:3000}
              secret: ${NODEVENT_CALLS_SECRET:-}
              handlers: /nodevent/cable
              # If pages have another host than the server:
              # origins: [https://www.example.com]
          # nodevent:cable end
        YAML
      end

      # The secret of development is in a file that is not committed, unless the application has another one.
      def local_secret
        secret = ::Rails.application&.secret_key_base.to_s
        file = SECRETS.find { |name| File.exist?(path(name)) && read(name).strip == secret }
        file ? "secret_key_base_file: ../#{file}" : "secret_key_base: ${SECRET_KEY_BASE}"
      end

      def remove_configuration
        return unless File.exist?(path(CONFIGURATION))

        text = read(CONFIGURATION)
        rest = text.gsub(BLOCK, "")
        return if rest == text

        say_status :subtract, CONFIGURATION
        return write(CONFIGURATION, rest) if !text.start_with?(CREATED) || rest.match?(%r{^\s*/})

        File.delete(path(CONFIGURATION)) unless options[:pretend]
      end

      def restore_adapter
        return unless File.exist?(path(BACKUP))

        say_status :restore, CABLE
        File.rename(path(BACKUP), path(CABLE)) unless options[:pretend]
      end
    end
  end
end
