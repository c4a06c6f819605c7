# frozen_string_literal: true

require "json"
require "optparse"

module Bench
  module Scale
    # The command line of bench/scale.
    class CommandLine
      def initialize(arguments)
        @binaries = File.join(ROOT, "target/release")
        @keep = true
        @rounds = 3
        parse(arguments)
      rescue OptionParser::ParseError => e
        abort "#{e.message}\nTry bench/scale --help"
      end

      def run
        return present(JSON.parse(File.read(@kept), symbolize_names: true)) if @kept

        Session.run do
          present(machine: Machine.describe, rounds: @rounds,
                  **Measurement.new(@binaries, rounds: @rounds).all)
        rescue Error => e
          abort e.message
        end
      end

      private

      def parse(arguments)
        OptionParser.new do |options|
          options.banner = "Usage: bench/scale [options]\nMeasures fleets of servers, and simulates larger ones."
          options.on("--kept FILE", "simulate with the costs of a kept run, and measure nothing") do |path|
            @kept = path
          end
          options.on("--binaries FOLDER", "where nodevent and nodevent-load are (target/release)") do |path|
            @binaries = File.expand_path(path)
          end
          options.on("--rounds COUNT", Integer, "how often each is measured; tables show medians (3)") do |count|
            @rounds = count
          end
          options.on("--no-keep", "only print, write nothing into bench/runs and docs/scaling.md") { @keep = false }
        end.parse!(arguments)
      end

      def present(results)
        page = Page.new(results)
        puts page
        return unless @keep

        machine = results[:machine]
        name = @kept&.delete_suffix(".json") ||
               File.join(FOLDER, "runs", "#{machine[:date][0, 10]}-#{machine[:commit]}-scale")
        File.write("#{name}.json", JSON.generate(results)) unless @kept
        File.write("#{name}.md", page.to_s)
        plot = Plot.new(page.costs).to_s
        File.write("#{name}.svg", plot)
        File.write(File.join(ROOT, "docs/images/scaling.svg"), plot)
        guide = File.join(ROOT, "docs/scaling.md")
        File.write(guide, Guide.new(page, File.basename(name)).update(File.read(guide)))
        warn "Kept as #{name}.{json,md,svg}, and in docs/scaling.md"
      end
    end
  end
end
