# frozen_string_literal: true

require "rails/generators/base"
require "securerandom"
require "generators/nodevent/dockerfile"
require "generators/nodevent/frontend"
require "generators/nodevent/layout_tag"

module Nodevent
  module Generators
    # `rails generate nodevent:install`: the files for a first live page. Running it again changes nothing that is
    # there.
    class InstallGenerator < Rails::Generators::Base
      include LayoutTag
      include Frontend
      include Dockerfile

      source_root File.expand_path("templates", __dir__)
      desc "Creates config/nodevent.yml with a fresh secret, lines in config/puma.rb and config/routes.rb, the " \
           "layout's tag, and a sample."
      class_option :mount, type: :boolean, default: true,
                           desc: "Mount the server in config/routes.rb, so that pages need no second address"

      HELPER = "javascript_include_nodevent"
      CALL = "#{HELPER} async: true".freeze
      CONFIGURATION = "config/nodevent.yml"
      SAMPLE = "app/views/nodevent/_sample.html.erb"
      PUMA = "config/puma.rb"
      PLUGIN = "\n# Runs NoDevent's server in development, and where NODEVENT_IN_PUMA=1 is set.\nplugin :nodevent\n"
      ROUTES = "config/routes.rb"
      MOUNT = "mount NoDevent::Server => \"/nodevent\""
      MOUNTED = %r{^\s*mount\b.*\bNoDevent::Server\b.*"/nodevent"}
      PROCESS = "nodevent: bundle exec nodevent config/nodevent.yml\n"
      PROCESSES = "web: bin/rails server\n#{PROCESS}".freeze
      POLICY = "config/initializers/content_security_policy.rb"
      IGNORED = ".gitignore"
      STORE = "\n# What NoDevent's server stores in development: messages and revocations.\n/storage/nodevent/\n"
      # Rails writes the first if the application has Active Storage.
      STORED = %r{^/?storage(?:/\*|/nodevent(?:/\*?)?|/)?\s*$}

      private_constant :HELPER, :CALL, :CONFIGURATION, :SAMPLE, :PUMA, :PLUGIN, :ROUTES, :MOUNT, :MOUNTED,
                       :PROCESS, :PROCESSES, :POLICY, :IGNORED, :STORE, :STORED

      # Creates the configuration of the application and the server.
      def configuration
        create_once "nodevent.yml.tt", CONFIGURATION
      end

      # Keeps what the server stores out of commits.
      def store
        return unless File.exist?(path(IGNORED))

        line?(IGNORED, STORED) ? say_status(:identical, IGNORED, :blue) : append(IGNORED, STORE)
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

      # Lets pages connect to the application's own address.
      def mount
        return unless options[:mount] && File.exist?(path(ROUTES))

        line?(ROUTES, /^\s*mount\b.*\bNoDevent::Server\b/) ? say_status(:identical, ROUTES, :blue) : route(MOUNT)
      end

      # Adds the script tag to every page.
      def layout
        add_to_layout(HELPER, CALL)
      end

      # Sets up the custom elements and the Stimulus controller.
      def elements
        case frontend
        when "importmap" then [add_pins, add_imports]
        when "npm" then add_imports
        when "assets" then add_elements_tag
        when "public" then [copy_elements, add_elements_tag(prefix: "/")]
        end
      end

      # Makes the image that Rails generates contain the gem, if it is in a folder of the application.
      def image
        build_in_image
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
          #{'In development, /nodevent/console shows events as they arrive.' if line?(ROUTES, MOUNTED)}
          #{streams unless frontend == 'script'}
        TEXT
        say npm_steps if frontend == "npm"
        say policy if policy?
      end

      private

      def streams
        "For Turbo Streams: `broadcasts_nodevent` in the model, and `<%= nodevent_stream_from @record %>` in the view."
      end

      def start
        File.exist?(path(PUMA)) ? "`bin/rails server`" : "`bin/dev` or `foreman start -f Procfile.dev`"
      end

      # Never replaces a secret that is in use, nor what was edited.
      def create_once(source, target)
        return say_status(:exist, target, :blue) if File.exist?(path(target)) && !options[:force]

        template source, target
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
