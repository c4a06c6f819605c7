# frozen_string_literal: true

require "nodevent/client_files"
require "nodevent/version"

module Nodevent
  module Generators
    # Sets up the custom elements and the Stimulus controller, in the way that the application loads JavaScript.
    module Frontend
      KINDS = {
        "importmap" => "pins them in config/importmap.rb, and imports them in app/javascript/application.js",
        "npm" => "imports them in app/javascript/application.js, for esbuild, Vite or webpack",
        "assets" => "adds a tag to the layout, for Sprockets or Propshaft",
        "public" => "copies the elements into public/, and adds a tag to the layout",
        "script" => "only the script tag"
      }.freeze
      IMPORTMAP = "config/importmap.rb"
      SPROCKETS = "app/assets/config/manifest.js"
      ENTRY = "app/javascript/application.js"
      CONTROLLERS = "app/javascript/controllers"
      ELEMENTS = %w[nodevent-room nodevent-stream-source].freeze
      MODULES = { "nodevent/room-element" => "nodevent-room.js",
                  "nodevent/stream-source" => "nodevent-stream-source.js",
                  "nodevent/stimulus" => "nodevent_controller.js" }.freeze

      private_constant :KINDS, :IMPORTMAP, :SPROCKETS, :ENTRY, :CONTROLLERS, :ELEMENTS, :MODULES

      def self.included(base)
        base.class_option :frontend, type: :string, default: "auto", enum: ["auto", *KINDS.keys],
                                     desc: "Custom elements and Stimulus controller. " \
                                           "#{KINDS.map { |kind, text| "#{kind}: #{text}" }.join('; ')}. " \
                                           "By default importmap or assets, if the application has them, or else script"
      end

      private

      def frontend
        chosen = options[:frontend]
        return chosen unless chosen == "auto"
        return "importmap" if File.exist?(path(IMPORTMAP))

        pipeline? ? "assets" : "script"
      end

      def pipeline?
        application = ::Rails.application if defined?(::Rails) && ::Rails.respond_to?(:application)
        # The file may be there although Sprockets is not loaded.
        application ? application.config.respond_to?(:assets) : File.exist?(path(SPROCKETS))
      end

      def add_pins
        return by_hand("there is no #{IMPORTMAP}; choose another --frontend") unless File.exist?(path(IMPORTMAP))

        pins = MODULES.reject { |name, _| read(IMPORTMAP).match?(/^\s*pin\s+["']#{name}["']/) }
        return say_status(:identical, IMPORTMAP, :blue) if pins.empty?

        append(IMPORTMAP, pins.map { |name, file| %(pin "#{name}", to: "#{file}"\n) }.join)
      end

      # The elements define themselves. Stimulus finds its controller by the name of the file.
      def add_imports
        imports = (MODULES.keys - ["nodevent/stimulus"]).map { |name| %(import "#{name}") }
        if File.exist?(path(ENTRY))
          missing = imports.reject { |line| read(ENTRY).tr("'", '"').include?(line) }
          missing.empty? ? say_status(:identical, ENTRY, :blue) : append(ENTRY, "#{missing.join("\n")}\n")
        else
          by_hand("there is no #{ENTRY}; write #{imports.join(' and ')} in your script")
        end
        return unless File.directory?(path(CONTROLLERS))

        create_once_with "#{CONTROLLERS}/nodevent_controller.js", %(export { default } from "nodevent/stimulus"\n)
      end

      def create_once_with(target, text)
        return say_status(:exist, target, :blue) if File.exist?(path(target)) && !options[:force]

        create_file target, text
      end

      def add_elements_tag(prefix: "")
        names = ELEMENTS.map { |name| %("#{prefix}#{name}") }.join(", ")
        add_to_layout("nodevent-stream-source", "javascript_include_tag #{names}, defer: true, nonce: true")
      end

      # Later runs renew the copies.
      def copy_elements
        ELEMENTS.each do |name|
          script = File.binread(File.join(NoDevent::ClientFiles::ASSETS, "#{name}.js"))
          create_file "public/#{name}.js", script, force: true
        end
      end

      def npm_steps
        <<~TEXT
          Install the package, which is part of the gem, and commit the file:
            npm pack "$(bundle show nodevent)/client" --pack-destination vendor
            npm install ./vendor/nodevent-#{NoDevent::VERSION}.tgz
          #{'With stimulus-rails: bin/rails stimulus:manifest:update' if File.directory?(path(CONTROLLERS))}
        TEXT
      end
    end
  end
end
