# frozen_string_literal: true

require "securerandom"
require "tmpdir"
require "yaml"

module E2E
  # A new Rails application, created offline. It differs from a usual one as follows: parts that require a network or
  # Node are skipped; the Gemfile has no source and only the required gems, so that Bundler uses installed ones;
  # `vendor/NoDevent` is a link to this checkout; both ports are free ones.
  class NewApp
    SKIPPED = %w[javascript bundle git spring listen bootsnap sprockets asset-pipeline test system-test action-cable action-mailer action-mailbox
                 action-text active-storage webpack-install turbolinks].map { |part| "--skip-#{part}" }
    GEMS = %w[rails puma sqlite3 rspec].map { |name| "gem \"#{name}\"\n" }.join

    attr_reader :dir, :port, :server_port

    def initialize
      @tmp = Dir.mktmpdir
      @dir = File.join(@tmp, "board")
      @port = Program.free_port
      @server_port = Program.free_port
      @env = %w[RAILS_ENV RACK_ENV NODEVENT_ENV NODEVENT_CONFIG REDIS_URL RUBYOPT].to_h { |name| [name, nil] }
      @env["BUNDLE_SILENCE_ROOT_WARNING"] = "1"
      run("rails new #{dir} #{SKIPPED.join(' ')}", dir: @tmp)
      write("Gemfile", GEMS)
      File.symlink(ROOT, File.join(dir, "vendor", "NoDevent"))
    end

    def path(name)
      File.join(dir, name)
    end

    def read(name)
      File.read(path(name))
    end

    def write(name, text)
      FileUtils.mkdir_p(File.dirname(path(name)))
      File.write(path(name), text)
    end

    def append(name, text)
      write(name, read(name) + text)
    end

    # Writes the configuration, with a free port.
    def configure(text)
      write("config/nodevent.yml", text.gsub("8080", server_port.to_s))
    end

    # Sets environment variables for later commands.
    def export(variables)
      @env.merge!(variables)
    end

    # The output of a command in the application's folder, which must succeed.
    def run(command, dir: @dir)
      program = Program.new("shell", "bash", "-ec", command, env: @env, dir: dir)
      raise "#{command} failed:\n#{program.output}" unless program.status(within: 300).success?

      program.output
    ensure
      program&.stop
    end

    # Starts Rails. The command starts the server, or both.
    def start(command)
      @server = @rails = nil
      together = command.start_with?("bin/rails server")
      command = "#{command} --port #{port}" if together
      @server = Program.new("nodevent", "bash", "-c", "exec #{command}", env: @env, dir: dir)
      @server.ready("the server answers", within: 60) { answers?(server_port, "/readyz") }
      unless together
        env = @env.merge("NODEVENT_IN_PUMA" => "0")
        @rails = Program.new("rails", "bin/rails", "server", "--port", port.to_s, env: env, dir: dir)
      end
      (@rails || @server).ready("Rails answers", within: 60) { answers?(port, "/discussions") }
    end

    # Runs the block while the server accepts connections and does not respond.
    def while_hanging
      Process.kill("STOP", server_pid)
      yield
    ensure
      Process.kill("CONT", server_pid)
    end

    def stop
      @rails&.stop
      @server&.stop
    end

    # Stops everything and deletes the folder.
    def remove
      stop
      FileUtils.rm_rf(@tmp)
    end

    # Installs the gem of this checkout, and other gems that are installed.
    def install(*gems)
      append("Gemfile", [%(gem "nodevent", path: "vendor/NoDevent"), *gems.map { |name| %(gem "#{name}") }].join("\n"))
      run("bundle install --local")
    end

    def url
      "http://localhost:#{port}"
    end

    private

    # Puma's plugin logs it.
    def server_pid
      @server.output.scan(/server started \(pid (\d+)\)/).flatten.last&.to_i || @server.pid
    end

    def answers?(port, path)
      Net::HTTP.get_response("localhost", path, port).is_a?(Net::HTTPOK)
    rescue SystemCallError
      false
    end
  end
end
