# frozen_string_literal: true

require_relative "package/promtool"

desc "Check the alert rules, and run their unit tests with promtool, which is downloaded if it is missing"
task :alerts do
  promtool = Promtool.path
  sh promtool, "check", "rules", "packaging/prometheus-rules.yml"
  sh promtool, "test", "rules", "packaging/prometheus-rules.test.yml"
end
