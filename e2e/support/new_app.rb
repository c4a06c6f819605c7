# frozen_string_literal: true

require "securerandom"
require "tmpdir"
require "yaml"

module E2E
  # What `rails new` makes, without a network. It differs from anybody's new application in this: what needs a
  # network or Node is skipped; the Gemfile names no source and only what the application needs, so that Bundler takes
  # what is installed; `vendor/NoDevent` is a link to this checkout; both ports are free ones.
  class NewApp
    SKIPPED = %w[javascript bundle git spring listen bootsnap sprockets test system-test action-cable action-mailer action-mailbox
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

    # The configuration, on a port that is free.
    def configure(text)
      write("config/nodevent.yml", text.gsub("8080", server_port.to_s))
    end

    # Sets variables for all that is run from here on.
    def export(variables)
      @env.merge!(variables)
    end

    # What a shell prints in the application's folder; it must end well.
    def run(command, dir: @dir)
      program = Program.new("shell", "bash", "-ec", command, env: @env, dir: dir)
      raise "#{command} failed:\n#{program.output}" unless program.status(within: 300).success?

      program.output
    ensure
      program&.stop
    end

    # Starts the server by this command, and Rails.
    def start(command)
      @server = Program.new("nodevent", "bash", "-c", "exec #{command}", env: @env, dir: dir)
      @server.ready("the server answers") { answers?(server_port, "/readyz") }
      @rails = Program.new("rails", "bin/rails", "server", "--port", port.to_s, env: @env, dir: dir)
      @rails.ready("Rails answers", within: 60) { answers?(port, "/discussions") }
    end

    def stop
      @rails&.stop
      @server&.stop
    end

    # Stops and leaves nothing behind.
    def remove
      stop
      FileUtils.rm_rf(@tmp)
    end

    def url
      "http://localhost:#{port}"
    end

    private

    def answers?(port, path)
      Net::HTTP.get_response("localhost", path, port).is_a?(Net::HTTPOK)
    rescue SystemCallError
      false
    end
  end
end
