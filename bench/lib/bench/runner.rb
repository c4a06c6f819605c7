# frozen_string_literal: true

require "English"
require "json"
require "open3"

module Bench
  # Runs all scenarios in rounds. Each round measures every server once, and starts with another one, so that other
  # activity of the machine affects all alike. A build and its baseline run one after the other, in alternating order.
  class Runner
    LOAD = File.join(ROOT, "target/release/nodevent-load")
    # Time for one server and one scenario. Seconds.
    TIMEOUT = 300

    def initialize(servers:, scenarios:, rounds:)
      @servers = servers
      @scenarios = scenarios
      @rounds = rounds
    end

    # @return [Array<Hash>] one result per scenario, round and server
    def run
      @scenarios.flat_map do |scenario|
        participants = @servers.select { |server| server.takes_part_in?(scenario) }
        Array.new(@rounds) { |round| measure_all(scenario, round, order(participants, round)) }.flatten
      end
    end

    private

    def order(servers, round)
      pairs = servers.group_by { |server| server.is_a?(Nodevent) ? server.counterpart : server.name }.values
      pairs.rotate(round).flat_map { |pair| round.even? ? pair : pair.reverse }
    end

    def measure_all(scenario, round, servers)
      servers.map do |server|
        result = measure(scenario, server)
        shown = result[:error] || Results.summary(result[:report])
        warn format("%-11<scenario>s round %<round>d  %-16<server>s %<shown>s",
                    scenario: scenario.name, round: round + 1, server: server.name, shown: shown)
        { scenario: scenario.name, round: round + 1, server: server.name, load_average: Machine.load_average, **result }
      end
    end

    def measure(scenario, server)
      server.run(scenario) do |workspace, pid, restart|
        next { report: run_programs(scenario, server, workspace) } if scenario.program

        redis = workspace.redis_pid ? ["--redis-pid", workspace.redis_pid.to_s] : []
        command = [LOAD, scenario.load || scenario.name, *server.load(workspace), "--pid", pid.to_s, *redis]
        generate(command, restart)
      end
    rescue Error => e
      { error: e.message }
    end

    # Runs a Ruby program as often as the scenario requires, and returns the output of each run.
    def run_programs(scenario, server, workspace)
      program = File.join(FOLDER, scenario.program)
      runs = server.arguments(scenario, workspace).map do |arguments|
        printed, errors, status = Open3.capture3("timeout", TIMEOUT.to_s, "ruby", program, *arguments)
        raise Error, errors.lines.first.to_s.strip unless status.success?

        JSON.parse(printed, symbolize_names: true)
      end
      { scenario.name.to_sym => runs }
    end

    # Runs the load generator. It requests a restart of the server with a line, and receives a line when it is up.
    def generate(command, restart)
      errors = File.join(TMP, "load.log")
      Open3.popen2("timeout", TIMEOUT.to_s, *command, err: errors) do |input, output, process|
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
      message = File.read(errors).lines.first.to_s.delete_prefix("Error: ").strip
      { error: message.empty? ? "took longer than #{TIMEOUT} s" : message }
    end
  end
end
