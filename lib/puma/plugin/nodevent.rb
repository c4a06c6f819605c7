# frozen_string_literal: true

require "puma/plugin"
require "nodevent/server_process"

# `plugin :nodevent` in config/puma.rb runs the server together with Puma: in development, and elsewhere if the
# environment has NODEVENT_IN_PUMA=1.
Puma::Plugin.create do
  def start(launcher)
    log = launcher.respond_to?(:log_writer) ? launcher.log_writer : launcher.events
    return log.log("* NoDevent: #{NoDevent::ServerProcess::SWITCHED_OFF}") unless NoDevent::ServerProcess.wanted?

    server = NoDevent::ServerProcess.new { |message| log.log("* NoDevent: #{message}") }
    server.name_socket
    server.stop_at_exit
    # Puma 7 has renamed its events.
    restart = launcher.events.respond_to?(:before_restart) ? :before_restart : :on_restart
    launcher.events.public_send(restart) { server.hand_over }
    in_background { server.run }
  end
end
