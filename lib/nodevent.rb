# frozen_string_literal: true

# Loads the gem. The path of a publication: base, changes or emitter → namespace → publisher → Redis or a server.
# The publisher calls nothing to its left. A namespace reads the configuration, and how `emit` separates its arguments,
# from the emitter.
module NoDevent
  # One hour in seconds.
  HOUR = 3600

  # @raise [RuntimeError] always: only {Base} can be included
  def self.included(_base)
    raise "No longer supported, Please include NoDevent::Base instead"
  end
end

require "nodevent/version"
require "nodevent/text"
require "nodevent/errors"
require "nodevent/fiber_local"
require "nodevent/native"
require "nodevent/configuration"
require "nodevent/room"
require "nodevent/ancestry"
require "nodevent/room_key"
require "nodevent/user"
require "nodevent/token"
require "nodevent/instrumentation"
require "nodevent/logger"
require "nodevent/error_reporter"
require "nodevent/silence"
require "nodevent/trace"
require "nodevent/publisher"
require "nodevent/request_start"
require "nodevent/page"
require "nodevent/encoder"
require "nodevent/after_commit"
require "nodevent/notification"
require "nodevent/targets"
require "nodevent/server_request"
require "nodevent/presence"
require "nodevent/connections"
require "nodevent/delivery"
require "nodevent/namespace"
require "nodevent/revocation"
require "nodevent/turted"
require "nodevent/emitter"
require "nodevent/record"
require "nodevent/changes"
require "nodevent/base"
require "nodevent/rack_request"
require "nodevent/broadcasts"
require "nodevent/rack_input"
require "nodevent/key_endpoint"
require "nodevent/console"
require "nodevent/server"
require "nodevent/hook_event"
require "nodevent/hooks"
require "nodevent/realtime"
require "nodevent/client_files"
require "nodevent/helper"
require "nodevent/cable"
require "nodevent/api"
# Under Bundler, Rails may be in the bundle but not loaded yet.
require "nodevent/railtie" if defined?(Rails::Railtie) || Gem.loaded_specs.key?("railties")
