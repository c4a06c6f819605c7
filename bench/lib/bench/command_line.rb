# frozen_string_literal: true

require "json"
require "optparse"

module Bench
  # The command line of bench/run, and the output of a run.
  class CommandLine
    def initialize(arguments)
      @rounds = 3
      @keep = @build = true
      @scenarios = Scenario.all
      parse(arguments)
    rescue OptionParser::ParseError, Error => e
      abort "#{e.message}\nTry bench/run --help"
    end

    def run
      Session.run do
        build if @build
        leave_out_missing
        machine = Machine.describe
        machine[:baseline] = Nodevent.describe(@baseline) if @baseline
        present(Runner.new(servers: @servers, scenarios: @scenarios, rounds: @rounds).run, machine)
      rescue Error => e
        abort e.message
      end
    end

    private

    def parse(arguments)
      names = nil
      OptionParser.new do |options|
        options.banner = "Usage: bench/run [options]\nMeasures our server and its peers side by side."
        options.on("--scenarios LIST", Array, Scenario.all.map(&:name).join(", ")) do |list|
          @scenarios = Scenario.named(list)
        end
        options.on("--servers LIST", Array, Server.all.map { |kind| kind.new.name }.join(", ")) { |list| names = list }
        options.on("--baseline PATH", "compare with another nodevent binary of the first round, in paired rounds;",
                   "adds the servers baseline-memory and baseline-redis") { |path| @baseline = File.expand_path(path) }
        options.on("--rounds COUNT", Integer, "how often each is measured; tables show medians (3)") do |count|
          @rounds = count
        end
        options.on("--no-build", "measure the last build of our server") { @build = false }
        options.on("--no-keep", "only print, write nothing into bench/runs") { @keep = false }
      end.parse!(arguments)
      @servers = servers(names)
    end

    # All servers; with a baseline, both builds of ours; or those with these names.
    def servers(names)
      all = Server.all.map(&:new)
      all += Nodevent.baselines(@baseline) if @baseline
      return named(names, all) if names

      @baseline ? all.grep(Nodevent) : all
    end

    def named(names, all)
      names.map do |name|
        all.find { |server| server.name == name } ||
          raise(Error, "there is no server `#{name}`; write one of #{all.map(&:name).join(', ')}")
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

    # Leaves out servers that are not installed, and reports them.
    def leave_out_missing
      missing = @servers.reject(&:ready?)
      missing.each { |server| warn "#{server.title} is left out; `#{server.install}` installs it." }
      @servers -= missing
      raise Error, "no server is installed" if @servers.empty?
    end

    def present(raw, machine)
      results = Results.new(raw)
      titles = @servers.to_h { |server| [server.name, server.title] }
      text = [heading(machine, raw), Comparison.new(results, @scenarios, @servers).to_s, Targets.new(results).to_s,
              Table.new(results, @scenarios, titles).to_s].reject(&:empty?).join("\n")
      puts text
      return unless @keep

      name = File.join(FOLDER, "runs", file_name(machine))
      File.write("#{name}.json", JSON.pretty_generate(machine: machine, rounds: @rounds, results: raw))
      File.write("#{name}.md", text)
      File.write("#{name}.svg", Plot.new(results, titles).to_s)
      warn "Kept as #{name}.{json,md,svg}"
    end

    # A comparison does not replace a run of the same commit with the peers.
    def file_name(machine)
      [machine[:date][0, 10], machine[:commit], ("baseline" if @baseline)].compact.join("-")
    end

    def heading(machine, raw)
      least, most = raw.map { |one| one[:load_average] }.minmax
      versions = machine[:versions].map { |name, version| "#{name} #{version}" }.join(", ")
      baseline = machine[:baseline]&.map { |name, text| "#{name} #{text}" }&.join(", ")
      <<~TEXT
        ## #{machine[:date][0, 10]}, commit #{machine[:commit]}#{" against a baseline (#{baseline})" if baseline}

        #{machine[:cores]} cores of #{machine[:processor]}, #{machine[:memory_gb]} GB, Linux #{machine[:kernel]}; \
        median of #{@rounds} rounds. Load average #{least} to #{most}; the run itself causes about 3. #{versions}.
      TEXT
    end
  end
end
