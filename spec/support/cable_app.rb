# frozen_string_literal: true

require "tempfile"
require "yaml"
require_relative "turbo_rails"

# A Rails application with channels under Puma, and its server.
class CableApp
  CALLS_SECRET = "a-secret-for-calls-of-more-than-16-bytes"
  PUBLISH_KEY = "a-publish-key-0123456789"
  SECRET_KEY_BASE = "0123456789abcdef" * 8

  HEAD = <<~RUBY.freeze
    require "rails"
    require "active_record/railtie"
    require "action_controller/railtie"
    require "action_view/railtie"
    require "active_job/railtie"
    require "action_cable/engine"
    #{TurboRails::SOURCE}
    require "nodevent"

    class App < Rails::Application
      config.root = Dir.pwd
      config.eager_load = false
      config.logger = Logger.new($stdout, formatter: ->(_, _, _, text) { "\#{text}\\n" })
      config.secret_key_base = "#{SECRET_KEY_BASE}"
      config.hosts.clear
      config.active_job.queue_adapter = :inline
      config.action_dispatch.show_exceptions = false
      config.action_cable.cable = JSON.parse(ENV.fetch("CABLE")).with_indifferent_access
      config.action_cable.mount_path = ENV["MOUNT_PATH"]
      config.session_store :cookie_store, key: "_session"
      config.middleware.use ActionDispatch::Cookies
      config.middleware.use ActionDispatch::Session::CookieStore, key: "_session"
      initializer("turbo") { Turbo.signed_stream_verifier_key = key_generator.generate_key("turbo/signed_stream_verifier_key") }
    end
    ActionController::Base.helper(Turbo::StreamsHelper)
    ActionController::Base.allow_forgery_protection = false
    App.initialize!
    ActiveRecord::Schema.verbose = false
    ActiveRecord::Schema.define do
      create_table(:users, force: true) { |t| t.string :name }
      create_table(:posts, force: true) { |t| t.string :title }
    end
    class User < ActiveRecord::Base; end
    class Post < ActiveRecord::Base
      include Turbo::Broadcastable
      broadcasts_to ->(_post) { "posts" }
    end
  RUBY

  attr_reader :application, :server

  # @param source [String] the application's channels, controllers and routes
  # @param namespace [Hash] more settings of the namespace
  # @param calls [Hash, nil] more settings of `calls`; `nil`: the server does not call channels
  # @param cable [Hash] more settings of config/cable.yml
  # @param mount_path [String, nil] where Action Cable's own server is
  def initialize(source, namespace: {}, calls: {}, cable: {}, mount_path: nil)
    port = Ports.free
    @namespace = { "protocol" => "action_cable", "publish_key" => PUBLISH_KEY,
                   "action_cable" => { "secret_key_base" => SECRET_KEY_BASE } }.merge(namespace)
    if calls
      @namespace["calls"] = { "url" => "http://127.0.0.1:#{port}", "secret" => CALLS_SECRET,
                              "handlers" => "/nodevent/cable" }.merge(calls)
    end
    @server = NodeventServer.new({ "/cable" => @namespace })
    start(port, source, cable, mount_path)
  end

  def client(headers = {}, path: "/cable")
    CableClient.new(server.port, headers, path: path)
  end

  # A client that was let in.
  def welcome(...)
    CableClient.welcome(server.port, ...)
  end

  # @return [Net::HTTPResponse] that of the application
  def get(path, headers = {})
    Net::HTTP.start("127.0.0.1", application.port) { |http| http.get(path, headers) }
  end

  def post(path, body = "")
    Net::HTTP.post(URI("#{application.url}#{path}"), body)
  end

  def stop
    [application, server].compact.each(&:stop)
  end

  private

  def start(port, source, cable, mount_path)
    @file = Tempfile.new(["nodevent", ".yml"])
    @file.write(YAML.dump("url" => server.url, "/cable" => @namespace))
    @file.close
    environment = { "NODEVENT_CONFIG" => @file.path, "CABLE" => JSON.generate({ "adapter" => "nodevent" }.merge(cable)),
                    "DATABASE_URL" => "sqlite3:db.sqlite3", "RAILS_ENV" => "development", "RUBYOPT" => "-W0",
                    "MOUNT_PATH" => mount_path }
    @application = PumaServer.new("#{HEAD}\n#{source}\nrun App\n", port: port, env: environment, path: "/up")
  rescue StandardError
    server.stop
    raise
  end
end
