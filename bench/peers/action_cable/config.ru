# frozen_string_literal: true

# Action Cable with rooms and nothing else, in one file. REDIS_URL names its Redis.

require "logger"
require "rails"
require "action_controller/railtie"
require "action_cable/engine"

# The application.
class Bench < Rails::Application
  config.load_defaults 6.1
  config.eager_load = true
  config.secret_key_base = "0" * 64
  config.logger = Logger.new(File::NULL)
  config.hosts.clear
  config.action_cable.mount_path = "/cable"
  config.action_cable.disable_request_forgery_protection = true
end

ActionCable.server.config.cable = { "adapter" => "redis", "url" => ENV.fetch("REDIS_URL") }
ActionCable.server.config.logger = Logger.new(File::NULL)

module ApplicationCable
  # Every client may connect.
  class Connection < ActionCable::Connection::Base; end
end

# A room is a stream with its name.
class RoomChannel < ActionCable::Channel::Base
  def subscribed
    stream_from params[:room]
  end
end

ActionCable.server.config.connection_class = -> { ApplicationCable::Connection }

Bench.initialize!
run Bench
