# frozen_string_literal: true

# What `require "nodevent"` gives. The way of an emission from here: base → emitter → publisher → Redis or a NoDevent
# server. No file below reaches back up.
module NoDevent
  # One hour in seconds.
  HOUR = 3600

  # @raise [RuntimeError] always: only {Base} is made to be included
  def self.included(_base)
    raise "No longer supported, Please include NoDevent::Base instead"
  end
end

require "nodevent/version"
require "nodevent/errors"
require "nodevent/native"
require "nodevent/configuration"
require "nodevent/room"
require "nodevent/room_key"
require "nodevent/instrumentation"
require "nodevent/failures"
require "nodevent/silence"
require "nodevent/publisher"
require "nodevent/emitter"
require "nodevent/changes"
require "nodevent/base"
require "nodevent/helper"
require "nodevent/process_wide"
# Under Bundler Rails may be in the bundle and not loaded yet.
require "nodevent/railtie" if defined?(Rails::Railtie) || Gem.loaded_specs.key?("railties")
