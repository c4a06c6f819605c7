# frozen_string_literal: true

# An application with stock Action Cable, for comparison: it renders a stream of Turbo, broadcasts to it, and serves /cable
# itself. Pages connect there, or to the NoDevent server that reads the same Redis.
#
# REDIS_URL is the Redis of its adapter, STREAM_KEY signs names of streams, NODEVENT is the address of the server.

require "logger"
require "net/http"
require "rails"
require "action_controller/railtie"
require "action_cable/engine"

class Stock < Rails::Application
  config.load_defaults 6.1
  config.eager_load = true
  config.secret_key_base = "0" * 64
  config.logger = Logger.new($stderr, level: Logger::WARN)
  config.hosts.clear
  config.action_controller.default_protect_from_forgery = false
  config.action_cable.mount_path = "/cable"
  config.action_cable.disable_request_forgery_protection = true
end

ActionCable.server.config.cable = { adapter: "redis", url: ENV.fetch("REDIS_URL"), channel_prefix: "stock" }.with_indifferent_access
ActionCable.server.config.logger = Logger.new(File::NULL)

VERIFIER = ActiveSupport::MessageVerifier.new(ENV.fetch("STREAM_KEY"), digest: "SHA256", serializer: JSON)

module ApplicationCable
  class Connection < ActionCable::Connection::Base; end
end
ActionCable.server.config.connection_class = -> { ApplicationCable::Connection }

module Turbo
  # As in turbo-rails.
  class StreamsChannel < ActionCable::Channel::Base
    def subscribed
      name = VERIFIER.verified(params[:signed_stream_name])
      name ? stream_from(name) : reject
    end
  end
end

class PagesController < ActionController::Base
  # The body of a page with a stream.
  def show
    name = VERIFIER.generate(params.require(:stream))
    source = { channel: "Turbo::StreamsChannel", "signed-stream-name": name, data: nodevent }
    render html: helpers.tag.turbo_cable_stream_source(**source) + helpers.tag.ol(id: "messages")
  end

  # Broadcasts each of `messages`.
  def broadcast
    params[:messages].each { |message| ActionCable.server.broadcast(params[:stream], message) }
    head :no_content
  end

  private

  # Since when the page is current, and which page it is. The stock server ignores both.
  def nodevent
    uri = URI("#{ENV.fetch('NODEVENT')}/api/nodevent/rooms/#{params[:stream]}/history?key=#{params.require(:key)}")
    { nodevent_since: JSON.parse(Net::HTTP.get(uri)).fetch("position"), nodevent_page: SecureRandom.hex(16) }
  end
end

Stock.initialize!
Stock.routes.draw do
  get "/page", to: "pages#show"
  post "/broadcast", to: "pages#broadcast"
end

run Stock
