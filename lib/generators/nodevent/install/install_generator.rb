# frozen_string_literal: true

require "rails/generators/base"
require "securerandom"

module Nodevent
  module Generators
    # `rails generate nodevent:install`: the files for a first live page.
    class InstallGenerator < Rails::Generators::Base
      source_root File.expand_path("templates", __dir__)
      desc "Creates config/nodevent.yml with a fresh secret, a Procfile.dev line, the layout's tag, and a sample."

      LAYOUT = "app/views/layouts/application.html.erb"
      TAG = "<%= javascript_include_nodevent %>"

      # Creates the configuration of the application and the server.
      def configuration
        template "nodevent.yml.tt", "config/nodevent.yml"
      end

      # Makes `bin/dev`, or `foreman start -f Procfile.dev`, start the server together with Rails.
      def procfile
        line = "nodevent: bundle exec nodevent config/nodevent.yml\n"
        if !File.exist?(path("Procfile.dev"))
          create_file "Procfile.dev", "web: bin/rails server\n#{line}"
        elsif !File.read(path("Procfile.dev")).match?(/^nodevent:/)
          append_to_file "Procfile.dev", line
        end
      end

      # Adds the script tag to every page.
      def layout
        if !File.exist?(path(LAYOUT))
          say_status :skip, "#{LAYOUT} does not exist; add #{TAG} to the head of your layout", :yellow
        elsif !File.read(path(LAYOUT)).include?("javascript_include_nodevent")
          insert_into_file LAYOUT, "    #{TAG}\n", before: %r{^\s*</head>}
        end
      end

      # Creates a sample to try.
      def sample
        template "_sample.html.erb", "app/views/nodevent/_sample.html.erb"
      end

      # Prints the next steps.
      def next_steps
        say <<~TEXT

          Next: start both with `bin/dev` or `foreman start -f Procfile.dev`, add
            <%= render "nodevent/sample" %>
          to a view, open it, and run in `rails console`
            NoDevent::Emitter.emit("sample", "hello", "world")
          For models: `include NoDevent::Base` and `emits_changes`. If events do not arrive: `rake nodevent:doctor`.
        TEXT
      end

      private

      def path(name)
        File.expand_path(name, destination_root)
      end
    end
  end
end
