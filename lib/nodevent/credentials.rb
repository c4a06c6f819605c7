# frozen_string_literal: true

require "io/wait"
require "json"
require "rbconfig"

module NoDevent
  # What Rails' credentials have under `nodevent`, for the variables of the configuration: `${NODEVENT_SECRET}` is
  # `nodevent: { secret: … }`, unless the environment has a variable of this name. The application reads its own; for a
  # server that starts before it, another process does. Does not need the rest of the gem, because Puma loads its
  # plugins before the application.
  # @api private
  module Credentials
    # A variable that credentials can have.
    VARIABLE = /\$\{(NODEVENT_([A-Z0-9_]+))/
    # Credentials of Rails, in the folder of an application.
    FILES = "config/{credentials.yml.enc,credentials/*.yml.enc}"
    # The time for reading the credentials of an application that does not run.
    #
    # # Units
    # Seconds.
    TIMEOUT = 60
    # The most that is read of them.
    #
    # # Units
    # Bytes.
    MAX_BYTES = 64 * 1024
    # A program that prints the credentials, or why it cannot, on the descriptor that it is given. The application is
    # not initialized: its initializers may need a database.
    PROGRAM = <<~'RUBY'
      out = IO.new(Integer(ARGV.shift))
      begin
        require "json"
        require "./config/application"
        found = Rails.application.credentials.nodevent
        out.write(JSON.generate(found: found.respond_to?(:to_h) ? found.to_h : {}))
      rescue Exception => e
        out.write(JSON.generate(error: e.class.name))
      end
    RUBY

    # The credentials cannot be read.
    class Unreadable < StandardError; end

    private_constant :TIMEOUT, :MAX_BYTES, :PROGRAM

    class << self
      # @return [#call, nil] returns what the application's credentials have under `nodevent`; set by the railtie
      attr_accessor :source

      # @param name [String] of a variable
      # @return [String, nil]
      # @raise [Unreadable]
      def value(name)
        key = "${#{name}"[VARIABLE, 2] or return

        text(read[key.downcase], key.downcase)
      end

      # @param file [String] a configuration file
      # @param environment [String] whose section counts
      # @return [Hash{String => String}] the variables that the environment lacks and the application's credentials have
      def variables(file, environment)
        missing(file, environment).to_h { |name| [name, value(name)] }.compact
      rescue Unreadable
        # The server reports what is missing.
        {}
      end

      # Does the same for an application that does not run in this process.
      # @param file see {variables}
      # @param environment see {variables}
      # @param folder [String] that of the application
      # @yieldparam reason [String] why they cannot be read
      # @return [Hash{String => String}]
      def variables_of_application(file, environment, folder = Dir.pwd)
        names = missing(file, environment)
        return {} if names.empty? || !File.exist?(File.join(folder, "config/application.rb")) || files(folder).empty?

        found = ask_application(folder)
        names.to_h { |name| [name, text(found[key_of(name)], key_of(name))] }.compact
      rescue Unreadable => e
        yield e.message
        {}
      end

      # @param folder [String] that of an application
      # @return [Array<String>] its encrypted credentials
      def files(folder = Dir.pwd)
        Dir.glob(FILES, base: folder).map { |name| File.join(folder, name) }.sort
      end

      private

      # The variables of a configuration that the environment does not have.
      def missing(file, environment)
        text = File.read(file, encoding: "UTF-8").scrub.lines.grep_v(/\A\s*#/).join
        sections(text, environment).scan(VARIABLE).map(&:first).uniq.select { |name| ENV.fetch(name, "").empty? }
      rescue SystemCallError
        []
      end

      # The text of the sections that count, or all of it. It only decides whether the credentials are read, which takes
      # seconds; so a section that refers to another one counts as all.
      def sections(text, environment)
        parts = text.split(/^(?=[\w"'])/)
        found = %W[shared #{environment}].map { |name| parts.grep(/\A["']?#{Regexp.escape(name)}["']?\s*:/).join }
        found.last.empty? || found.join.match?(/(?<![\w*])\*\w/) ? text : found.join
      end

      def key_of(name)
        name.delete_prefix("NODEVENT_").downcase
      end

      def read
        found = source&.call
        found.respond_to?(:to_h) ? found.to_h.transform_keys(&:to_s) : {}
      rescue StandardError => e
        # Without the message, which may contain what was decrypted.
        raise Unreadable, "Rails' credentials cannot be read (#{e.class}); check RAILS_MASTER_KEY or the key's file"
      end

      def text(value, key)
        return if value.nil?

        unless value.is_a?(String) || value.is_a?(Integer)
          raise Unreadable, "`nodevent: #{key}` in Rails' credentials is not a text"
        end

        value.to_s unless value.to_s.empty?
      end

      def ask_application(folder)
        answer = run_program(folder)
        error = answer["error"]
        return answer.fetch("found", {}) unless error

        raise Unreadable, "Rails' credentials cannot be read (#{error}); check RAILS_MASTER_KEY or the key's file"
      rescue JSON::ParserError, SystemCallError
        raise Unreadable, "Rails' credentials cannot be read, because config/application.rb could not be loaded"
      end

      # What the program writes, at most until the timeout.
      def run_program(folder)
        reader, writer = IO.pipe
        streams = { in: File::NULL, out: File::NULL, err: File::NULL, writer => writer }
        pid = Process.spawn(RbConfig.ruby, "-e", PROGRAM, writer.fileno.to_s, chdir: folder, **streams)
        writer.close
        JSON.parse(read_all(reader).force_encoding(Encoding::UTF_8))
      ensure
        [reader, writer].compact.each(&:close)
        end_program(pid) if pid
      end

      def read_all(reader)
        deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + TIMEOUT
        text = +"".b
        loop do
          left = deadline - Process.clock_gettime(Process::CLOCK_MONOTONIC)
          return "" if left <= 0 || text.bytesize > MAX_BYTES || !reader.wait_readable(left)

          text << reader.readpartial(MAX_BYTES)
        end
      rescue EOFError
        text
      end

      def end_program(pid)
        Process.kill(:KILL, pid)
        Process.wait(pid)
      rescue Errno::ESRCH, Errno::ECHILD
        nil
      end
    end
  end
end
