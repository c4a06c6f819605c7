# frozen_string_literal: true

require "json"
require "optparse"

module Bench
  # What may be typed, and what is written in the end.
  class CommandLine
    def initialize(arguments)
      @rounds = 3
      @keep = @build = true
      @scenarios = Scenario.all
      @servers = Server.all.map(&:new)
      parse(arguments)
    rescue OptionParser::ParseError, Error => e
      abort "#{e.message}\nTry bench/run --help"
    end

    def run
      Session.run do
        build if @build
        make_ready
        machine = Machine.describe
        present(Runner.new(servers: @servers, scenarios: @scenarios, rounds: @rounds).run, machine)
      rescue Error => e
        abort e.message
      end
    end

    private

    def parse(arguments)
      OptionParser.new do |options|
        options.banner = "Usage: bench/run [options]\nMeasures our server and its peers side by side."
        options.on("--scenarios LIST", Array, Scenario.all.map(&:name).join(", ")) do |names|
          @scenarios = Scenario.named(names)
        end
        options.on("--servers LIST", Array, @servers.map(&:name).join(", ")) { |names| @servers = named(names) }
        options.on("--rounds COUNT", Integer, "how often each is measured; the median counts (3)") do |count|
          @rounds = count
        end
        options.on("--no-build", "measure our server as it was built last") { @build = false }
        options.on("--no-keep", "only print, write nothing into bench/runs") { @keep = false }
      end.parse!(arguments)
    end

    def named(names)
      names.map do |name|
        @servers.find { |server| server.name == name } ||
          raise(Error, "there is no server `#{name}`; there are: #{@servers.map(&:name).join(', ')}")
      end
    end

    def build
      command = %w[cargo build --release --quiet -p nodevent-server -p nodevent-load]
      raise Error, "cargo could not build the server and the load generator" unless system(*command, chdir: ROOT)
      return if @scenarios.none?(&:program)

      release = { "NODEVENT_PROFILE" => "release" }
      done = system(release, "rake", "compile", chdir: ROOT, out: File::NULL)
      raise Error, "`rake compile` could not build the gem's extension" unless done
    end

    # Leaves out, and says so, whom it would take an installation to measure.
    def make_ready
      missing = @servers.reject(&:ready?)
      missing.each { |server| warn "#{server.title} is left out; `#{server.install}` makes it ready." }
      @servers -= missing
      raise Error, "nobody is left to be measured" if @servers.empty?
    end

    def present(raw, machine)
      results = Results.new(raw)
      titles = @servers.to_h { |server| [server.name, server.title] }
      text = [heading(machine, raw), Targets.new(results).to_s, Table.new(results, @scenarios, titles).to_s].join("\n")
      puts text
      return unless @keep

      name = File.join(FOLDER, "runs", "#{machine[:date][0, 10]}-#{machine[:commit]}")
      File.write("#{name}.json", JSON.pretty_generate(machine: machine, rounds: @rounds, results: raw))
      File.write("#{name}.md", text)
      File.write("#{name}.svg", Plot.new(results, titles).to_s)
      warn "Kept as #{name}.{json,md,svg}"
    end

    def heading(machine, raw)
      least, most = raw.map { |one| one[:load_average] }.minmax
      versions = machine[:versions].map { |name, version| "#{name} #{version}" }.join(", ")
      <<~TEXT
        ## #{machine[:date][0, 10]}, commit #{machine[:commit]}

        #{machine[:cores]} cores of #{machine[:processor]}, #{machine[:memory_gb]} GB, Linux #{machine[:kernel]}; \
        median of #{@rounds} rounds. Load average #{least} to #{most}; about 3 is the run's own. #{versions}.
      TEXT
    end
  end
end
