# frozen_string_literal: true

# The benchmarks: scenarios, servers, and what comes out. `bench/README.md` says how to read it.
#
# In the order of a run: the command line says what; the runner starts each server anew for each scenario and lets
# the load generator (in `load/`) measure it; results become medians, a table, a plot and the files in `runs/`.
module Bench
  ROOT = File.expand_path("../..", __dir__)
  FOLDER = File.join(ROOT, "bench")
  # What is built or written on the way; not kept.
  TMP = File.join(FOLDER, "tmp")

  # What keeps a run from going on; its text says what to do.
  class Error < StandardError; end
end

require_relative "bench/place"
require_relative "bench/server"
require_relative "../peers/bare/peer"
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
require_relative "bench/targets"
require_relative "bench/plot"
require_relative "bench/command_line"
