# frozen_string_literal: true

namespace :nodevent do
  # Rails defines its task after those of libraries, so it is looked up when a task runs.
  load_application = -> { Rake::Task["environment"].invoke if Rake::Task.task_defined?("environment") }

  desc "Find out why events do not arrive (ORIGIN=https://… for the origin of the pages)"
  task :doctor do
    load_application.call
    require "nodevent"
    require "nodevent/doctor"
    success = NoDevent::Doctor.report(origin: ENV.fetch("ORIGIN", nil))
    abort("Events would not arrive: see FAIL above.") unless success
  end

  desc "Run the server with the secrets of Rails' credentials, instead of `nodevent serve`"
  task :serve do
    load_application.call
    require "nodevent"
    require "nodevent/server_process"
    binary = NoDevent::ServerBinary.path or abort(NoDevent::ServerBinary::MISSING)
    file = NoDevent::Emitter.config.source || NoDevent::ServerProcess.configuration
    name = NoDevent::ServerProcess.environment
    exec({ "NODEVENT_ENV" => name, **NoDevent::Credentials.variables(file, name) }, binary, "serve", file)
  end

  namespace :cable do
    desc "Find what cannot work in channels that the server calls (instance variables, timers, streams with a block)"
    task :check do
      require "nodevent"
      require "nodevent/cable/check"
      root = defined?(Rails.root) && Rails.root ? Rails.root.to_s : Dir.pwd
      abort("See docs/from-action-cable.md for each.") unless NoDevent::Cable::Check.report(root)
    end
  end
end
