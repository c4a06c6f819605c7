# frozen_string_literal: true

module Bench
  # Several servers: what a publication costs at the publisher, in Redis and at each server, and what follows from it.
  #
  # `measurement` runs the load generator with fleets of servers (`fleet`). `costs` derives the costs of single steps
  # from a kept run, `simulation` plays publications with these costs, and `estimate` is the same as a formula.
  # `page` and `plot` present them.
  module Scale
  end
end

require_relative "scale/least_squares"
require_relative "scale/sample"
require_relative "scale/costs"
require_relative "scale/simulation"
require_relative "scale/validation"
require_relative "scale/estimate"
require_relative "scale/fleet"
require_relative "scale/measurement"
require_relative "scale/tables"
require_relative "scale/growth"
require_relative "scale/page"
require_relative "scale/plot"
require_relative "scale/guide"
require_relative "scale/command_line"
