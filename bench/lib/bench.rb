# frozen_string_literal: true

# The benchmarks: scenarios, servers and results. `bench/README.md` explains them.
#
# In the order of a run: the command line selects scenarios and servers. The runner starts each server for each scenario
# and runs the load generator (in `load/`). The results become medians, tables, a plot and the files in `runs/`.
module Bench
  ROOT = File.expand_path("../..", __dir__)
  FOLDER = File.join(ROOT, "bench")
  # Builds and temporary files; not committed.
  TMP = File.join(FOLDER, "tmp")

  # Ends a run; its message says what to do.
  class Error < StandardError; end
end

require_relative "bench/workspace"
require_relative "bench/server"
require_relative "../peers/bare/peer"
require_relative "bench/application"
require_relative "bench/nodevent"
require_relative "../peers/nchan/peer"
require_relative "../peers/socketioxide/peer"
require_relative "../peers/socket_io/peer"
require_relative "../peers/action_cable/peer"
require_relative "bench/scenario"
require_relative "bench/session"
require_relative "bench/machine"
require_relative "bench/runner"
require_relative "bench/results"
require_relative "bench/table"
require_relative "bench/comparison"
require_relative "bench/targets"
require_relative "bench/plot"
require_relative "bench/command_line"
