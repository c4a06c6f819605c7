# frozen_string_literal: true

require "open3"
require "tmpdir"

RSpec.describe "bin/rerun-failures" do
  around { |example| Dir.mktmpdir { |folder| Dir.chdir(folder) { example.run } } }

  # Runs the script in an empty folder. Returns its output and its exit status.
  def rerun(*command, path: ENV.fetch("PATH"))
    output, status = Open3.capture2e({ "PATH" => path }, File.expand_path("../bin/rerun-failures", __dir__), *command)
    [output, status.exitstatus]
  end

  # An RSpec file whose example passes from the given run on.
  def example_that_passes_in_run(number)
    File.write("a_spec.rb", <<~RUBY)
      RSpec.describe "a" do
        it("passes") do
          runs = File.exist?("runs") ? File.read("runs").to_i + 1 : 1
          File.write("runs", runs)
          expect(runs).to be >= #{number}
        end
        it("runs once") { expect(File.write("others", "x", mode: "a")).to eq(1) }
      end
    RUBY
  end

  it "runs nothing again if all tests pass" do
    example_that_passes_in_run(1)
    output, status = rerun("rspec", "a_spec.rb")
    expect([status, output.include?("flaky:"), File.read("runs")]).to eq([0, false, "1"])
  end

  it "runs a failed example again, and names it" do
    example_that_passes_in_run(2)
    output, status = rerun("rspec", "a_spec.rb")
    expect(output).to include("flaky: ./a_spec.rb:2")
    expect([status, File.read("runs"), File.read("others")]).to eq([0, "2", "x"])
  end

  it "fails if an example fails twice" do
    example_that_passes_in_run(3)
    output, status = rerun("rspec", "a_spec.rb")
    expect(output).to include("failed twice: ./a_spec.rb:2")
    expect([status, File.read("runs")]).to eq([1, "2"])
  end

  it "runs the file of a failed test of Node again" do
    File.write("package.json", '{"type": "module"}')
    File.write("a.test.js", <<~JS)
      import { existsSync, writeFileSync } from "node:fs";
      import { test } from "node:test";
      test("it's late (once)", async (t) => {
        await t.test("inner", () => {
          if (existsSync("ran")) return;
          writeFileSync("ran", "");
          throw new Error("late");
        });
      });
    JS
    output, status = rerun("node", "--test")
    expect(output).to include("flaky: it's late (once)")
    expect(status).to eq(0)
  end

  # A command named `cargo` prints what cargo prints, and notes its arguments.
  def cargo(output, second_status, second_result = "test result: ok. 1 passed")
    File.write("output", output)
    File.write("cargo", <<~SH)
      #!/bin/sh
      echo "$@" >> arguments
      [ "$(wc -l < arguments)" -gt 1 ] && echo "#{second_result}" && exit #{second_status}
      cat output
      exit 101
    SH
    File.chmod(0o755, "cargo")
    rerun("cargo", "test", "--locked", "--no-fail-fast", path: "#{Dir.pwd}:#{ENV.fetch('PATH')}")
  end

  let(:output_of_cargo) do
    <<~TEXT
           Running unittests src/lib.rs (target/debug/deps/nodevent_server-0a1b2c)
      test shard::turns ... ok
      test history::reads ... FAILED
      test result: FAILED. 1 passed; 1 failed; 0 ignored
      error: test failed, to rerun pass `-p nodevent-server --lib`
           Running tests/behaviour/main.rs (target/debug/deps/behaviour-0a1b2c)
      test presence::leaves ... FAILED
      test result: FAILED. 0 passed; 1 failed; 0 ignored
      error: test failed, to rerun pass `-p nodevent-server --test behaviour`
         Doc-tests nodevent_protocol
      test protocol/src/topic.rs - topic::Topic (line 12) ... FAILED
      test result: FAILED. 0 passed; 1 failed; 0 ignored
      error: doctest failed, to rerun pass `-p nodevent-protocol --doc`
    TEXT
  end

  it "runs each failed test of cargo in its own program" do
    output, status = cargo(output_of_cargo, 0)
    expect(File.read("arguments").lines.drop(1).join).to eq(<<~TEXT)
      test --locked --lib -- --exact history::reads
      test --locked --test behaviour -- --exact presence::leaves
      test --locked --doc -- protocol/src/topic.rs
    TEXT
    expect(output.scan(/^flaky: (.*)/).flatten).to eq(%w[history::reads presence::leaves protocol/src/topic.rs])
    expect(status).to eq(0)
  end

  it "runs failed tests of cargo with the options that decide what is compiled" do
    require_relative "../rakelib/failed_tests"
    commands = [%w[--workspace], %w[--package nodevent-ext]].map do |options|
      failures = FailedTests.of(output_of_cargo, ["cargo", "test", "--locked", *options, "--no-fail-fast"])
      failures.map { |one| one.command.join(" ") }
    end
    expect(commands.map { |of_one| of_one[1] }).to eq(
      ["cargo test --locked --workspace --test behaviour -- --exact presence::leaves",
       "cargo test --locked --package nodevent-ext --test behaviour -- --exact presence::leaves"]
    )
  end

  it "fails if a test of cargo fails twice" do
    output, status = cargo(output_of_cargo, 101)
    expect(output.scan(/^failed twice: .*/).size).to eq(3)
    expect(status).to eq(1)
  end

  it "runs nothing again if a test program was killed, too" do
    killed = "error: test failed, to rerun pass `-p nodevent-server --test faults`\nCaused by: (signal: 6, SIGABRT)\n"
    _, status = cargo(output_of_cargo + killed, 0)
    expect([status, File.readlines("arguments").size]).to eq([101, 1])
  end

  it "does not take a second run that finds no test for a success" do
    output, status = cargo(output_of_cargo, 0, "test result: ok. 0 passed")
    expect([output.scan(/^failed twice: .*/).size, status]).to eq([3, 1])
  end

  it "runs nothing again after an error outside of examples" do
    File.write("a_spec.rb", <<~RUBY)
      RSpec.describe "a" do
        after(:context) { raise "outside" }
        it("fails") { expect(File.write("runs", "x", mode: "a")).to eq(2) }
      end
    RUBY
    output, status = rerun("rspec", "a_spec.rb")
    expect(output).to include("occurred outside of examples")
    expect([status, File.read("runs")]).to eq([1, "x"])
  end

  it "reads ids that RSpec quotes" do
    require_relative "../rakelib/failed_tests"
    output = "2 examples, 2 failures\nrspec './a_spec.rb[1:2]' # a\nrspec ./b_spec.rb:3 # b\n"
    expect(FailedTests.of(output, %w[rspec]).map(&:name)).to eq(["./a_spec.rb[1:2]", "./b_spec.rb:3"])
  end

  it "runs nothing again after an error of the compiler, or if many tests failed" do
    _, status = cargo("error[E0308]: mismatched types\n", 0)
    expect([status, File.readlines("arguments").size]).to eq([101, 1])
    File.delete("arguments")
    many = (1..7).map { |number| "test t#{number} ... FAILED\n" }
    end_of_program = "test result: FAILED. 0 passed; 7 failed\nerror: test failed, to rerun pass `--test a`\n"
    output, status = cargo("     Running tests/a.rs (target/debug/deps/a-0a1b2c)\n#{many.join}#{end_of_program}", 0)
    expect(output).to include("7 tests failed")
    expect([status, File.readlines("arguments").size]).to eq([1, 1])
  end
end
