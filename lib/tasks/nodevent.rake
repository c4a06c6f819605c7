# frozen_string_literal: true

namespace :nodevent do
  desc "Find out why no message arrives (ORIGIN=https://… for the pages' address)"
  task doctor: (Rake::Task.task_defined?("environment") ? [:environment] : []) do
    require "nodevent"
    require "nodevent/doctor"
    content = NoDevent::Doctor.report(origin: ENV.fetch("ORIGIN", nil))
    abort("A message would not arrive.") unless content
  end
end
