# frozen_string_literal: true

require "json"
require_relative "../bench/lib/bench"
require_relative "../bench/lib/bench/scale"

# The measurement itself takes minutes: `bench/scale` repeats it.
RSpec.describe Bench::Scale do
  kept = Dir[File.join(Bench::FOLDER, "runs/*-scale.json")].max
  results = JSON.parse(File.read(kept), symbolize_names: true)
  costs = described_class::Costs.new(results[:runs])
  validation = described_class::Validation.new(costs)

  def workload(rate)
    Bench::Scale::Simulation::Workload.new(rate: rate, together: 1, rooms: 1000, room_size: 1, placed: true)
  end

  it "has a measurement of each setting with one, two and four servers, and nothing was lost" do
    measured = costs.samples.map { |one| [one.redis, one.channel, one.servers, one.together] }
    expected = Bench::Scale::Costs::SETTINGS.product([1, 2, 4], [1, 50]).map(&:flatten)
    expect(measured).to match_array(expected)
    expect(costs.samples.map(&:lost)).to all(eq(0))
  end

  validation.rows.each do |row|
    name = "#{row.sample.redis}, #{row.sample.channel}, #{row.sample.servers} servers, #{row.sample.together} at a time"

    it "simulates what was measured within the tolerance (#{name})" do
      expect(row.errors.values.map(&:abs)).to all(be < Bench::Scale::Validation::TOLERANCE), row.pairs.inspect
    end
  end

  it "predicts five times the rate, from which no cost was derived" do
    errors = validation.faster(results[:faster]).map(&:errors)
    parts = errors.flat_map { |error| error.values_at(:redis, :server) }
    expect(parts.map(&:abs)).to all(be < Bench::Scale::Validation::FASTER_TOLERANCE)
    publisher = errors.map { |error| error[:publisher] }
    expect(publisher.map(&:abs)).to all(be < Bench::Scale::Validation::FASTER_PUBLISHER_TOLERANCE)
  end

  it "agrees with the formula where nothing waits" do
    [%w[single one], %w[single per_room]].each do |setting|
      simulation = Bench::Scale::Simulation.new(costs.of(*setting), channel: setting[1], nodes: 1, servers: 20)
      outcome = simulation.run(workload(200))
      estimate = Bench::Scale::Estimate.new(costs.of(*setting), channel: setting[1], nodes: 1, servers: 20, members: 1)
      expect(outcome.redis).to be_within(0.01 * estimate.node).of(estimate.node)
    end
  end

  it "shows what waits above the capacity of Redis" do
    simulate = lambda do |rate|
      simulation = Bench::Scale::Simulation.new(costs.of("single", "one"), channel: "one", nodes: 1, servers: 20)
      simulation.run(workload(rate))
    end
    calm = simulate.call(500)
    crowded = simulate.call(50_000)
    expect(calm.node_busy).to be < 0.5
    expect(crowded.node_busy).to be > 1
    expect(crowded.delay).to be > 20 * calm.delay
  end

  it "keeps the page and the plot that follow from the measurement" do
    page = Bench::Scale::Page.new(results)
    expect(File.read(kept.sub(/json\z/, "md"))).to eq(page.to_s)
    plot = Bench::Scale::Plot.new(page.costs).to_s
    expect(File.read(kept.sub(/json\z/, "svg"))).to eq(plot)
    expect(File.read(File.join(Bench::ROOT, "docs/images/scaling.svg"))).to eq(plot)
    guide = File.read(File.join(Bench::ROOT, "docs/scaling.md"))
    expect(Bench::Scale::Guide.new(page, File.basename(kept, ".json")).update(guide)).to eq(guide)
  end

  it "finds costs that are known" do
    rows = [[1.0, 1.0], [0.02, 1.0], [1.0, 4.0], [0.02, 4.0]]
    values = rows.map { |arrivals, publications| (30 * arrivals) + (5 * publications) }
    found = Bench::Scale::LeastSquares.solve(rows, values)
    expect(found[0]).to be_within(1e-6).of(30)
    expect(found[1]).to be_within(1e-6).of(5)
    expect(Bench::Scale::LeastSquares.solve([[1.0, 1.0], [1.0, 2.0]], [10.0, 5.0])).to all(be >= 0)
  end
end
