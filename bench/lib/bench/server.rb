# frozen_string_literal: true

module Bench
  # One kind of server: what it is called, what makes it ready, how it is started and spoken to. A subclass each.
  class Server
    class << self
      def all
        @all ||= []
      end

      def inherited(kind)
        super
        Server.all << kind
      end
    end

    # How long a server is asked to end before it is made to. Seconds.
    PATIENCE = 5

    # @!method name
    #   @return [String] as it is named on the command line
    # @!method title
    #   @return [String] as it is named in tables
    # @!method command(place)
    #   @return [Array<String>] what starts it
    # @!method load(place)
    #   @return [Array<String>] what the load generator is told about it
    # @!method install
    #   @return [String] the command that makes it ready
    # @!method ready?
    #   @return [Boolean] whether that has been done

    # Whether it has a Redis beside it.
    def redis?
      false
    end

    # @return [Hash] environment variables
    def environment(_place)
      {}
    end

    # @return [Hash] files it finds in its folder, by name
    def files(_place)
      {}
    end

    def takes_part_in?(scenario)
      scenario.only.nil? || scenario.only.include?(name)
    end

    # Starts it; the block has its place, its process id and a way to restart it. It is gone afterwards.
    def run
      place = Place.new(name, redis: redis?)
      files(place).each { |file, text| File.write(File.join(place.folder, file), text) }
      pid = start(place)
      yield place, pid, -> { pid = restart(pid, place) }
    ensure
      stop(pid) if pid
      place&.close
    end

    private

    def speaks(protocol, place, publish)
      ["--speaks", protocol, "--address", "127.0.0.1:#{place.port}", "--publish", publish]
    end

    def start(place)
      log = File.join(place.folder, "log")
      pid = Process.spawn(environment(place), *command(place), chdir: place.folder, out: log, err: log)
      place.wait_for(place.port, log: log)
      pid
    end

    def restart(pid, place)
      stop(pid)
      start(place)
    end

    def stop(pid)
      Process.kill(:TERM, pid)
      (PATIENCE * 20).times do
        return if Process.wait(pid, Process::WNOHANG)

        sleep 0.05
      end
      Process.kill(:KILL, pid)
      Process.wait(pid)
    rescue Errno::ECHILD, Errno::ESRCH
      nil
    end
  end
end
