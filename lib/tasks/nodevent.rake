# frozen_string_literal: true

namespace :nodevent do
  desc "Find out why events do not arrive (ORIGIN=https://… for the origin of the pages)"
  task doctor: (Rake::Task.task_defined?("environment") ? [:environment] : []) do
    require "nodevent"
    require "nodevent/doctor"
    success = NoDevent::Doctor.report(origin: ENV.fetch("ORIGIN", nil))
    abort("Events would not arrive: see FAIL above.") unless success
  end
end
