# frozen_string_literal: true

require "English"
require "json"
require "open3"

module Bench
  # Goes through scenarios, rounds and servers. In each round every server has its turn, and each round begins with
  # another one, so that what the machine does beside hits all alike.
  class Runner
    LOAD = File.join(ROOT, "target/release/nodevent-load")
    # How long one server may take for one scenario. Seconds.
    PATIENCE = 300

    def initialize(servers:, scenarios:, rounds:)
      @servers = servers
      @scenarios = scenarios
      @rounds = rounds
    end

    # @return [Array<Hash>] one result per scenario, round and server
    def run
      @scenarios.flat_map do |scenario|
        taking_part = @servers.select { |server| server.takes_part_in?(scenario) }
        Array.new(@rounds) { |round| turns(scenario, round, taking_part.rotate(round)) }.flatten
      end
    end

    private

    def turns(scenario, round, servers)
      servers.map do |server|
        result = measure(scenario, server)
        shown = result[:error] || Results.summary(result[:report])
        warn format("%-10<scenario>s round %<round>d  %-16<server>s %<shown>s",
                    scenario: scenario.name, round: round + 1, server: server.name, shown: shown)
        { scenario: scenario.name, round: round + 1, server: server.name, load_average: Machine.load_average, **result }
      end
    end

    def measure(scenario, server)
      server.run do |place, pid, restart|
        next { report: run_programs(scenario, server, place) } if scenario.program

        beside = place.redis_pid ? ["--beside", place.redis_pid.to_s] : []
        command = [LOAD, scenario.name, *server.load(place), "--pid", pid.to_s, *beside]
        generate(command, restart)
      end
    rescue Error => e
      { error: e.message }
    end

    # Runs a program in Ruby as often as the scenario asks for; answers what each run printed.
    def run_programs(scenario, server, place)
      program = File.join(FOLDER, scenario.program)
      runs = server.arguments(scenario, place).map do |arguments|
        printed, errors, status = Open3.capture3("timeout", PATIENCE.to_s, "ruby", program, *arguments)
        raise Error, errors.lines.first.to_s.strip unless status.success?

        JSON.parse(printed, symbolize_names: true)
      end
      { scenario.name.to_sym => runs }
    end

    # Runs the load generator. It asks for a restart of the server by a line, and is told by a line when it is up.
    def generate(command, restart)
      errors = File.join(TMP, "load.log")
      Open3.popen2("timeout", PATIENCE.to_s, *command, err: errors) do |input, output, process|
        report = nil
        output.each_line do |line|
          if line.strip == "restart"
            restart.call
            input.puts "restarted"
          else
            report = JSON.parse(line, symbolize_names: true)
          end
        end
        return { report: report } if process.value.success? && report
      end
      said = File.read(errors).lines.first.to_s.delete_prefix("Error: ").strip
      { error: said.empty? ? "took longer than #{PATIENCE} s" : said }
    end
  end
end
