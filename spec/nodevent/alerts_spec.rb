# frozen_string_literal: true

require "yaml"

# Row X-06. `rake alerts` runs the unit tests of the alerts with promtool; this checks that no alert is without them.
RSpec.describe "X-06 The alerts of packaging/prometheus-rules.yml" do
  def load(name)
    YAML.safe_load(File.read(File.join(ROOT, "packaging", name)))
  end

  it "each have a case in which they fire and one in which they do not" do
    rules = load("prometheus-rules.yml")["groups"].flat_map { |group| group["rules"] }
    tests = load("prometheus-rules.test.yml")["tests"].flat_map { |test| test["alert_rule_test"] }
    cases = tests.group_by { |test| test["alertname"] }
    expect(cases.keys).to match_array(rules.map { |rule| rule["alert"] })
    cases.each do |alert, tested|
      fires = tested.map { |test| test.key?("exp_alerts") }
      expect(fires.uniq).to contain_exactly(true, false), alert
    end
  end

  it "say in the unit tests what the rules say" do
    rules = load("prometheus-rules.yml")["groups"].flat_map { |group| group["rules"] }
    summaries = rules.to_h { |rule| [rule["alert"], rule["annotations"]] }
    tests = load("prometheus-rules.test.yml")["tests"].flat_map { |test| test["alert_rule_test"] }
    tests.each do |test|
      test.fetch("exp_alerts", []).each do |alert|
        expect(alert["exp_annotations"]).to eq(summaries[test["alertname"]])
      end
    end
  end
end
