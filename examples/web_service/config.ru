# frozen_string_literal: true

# A site for NoDevent in the place of SocketIO Web Service, in plain Ruby: Rack and the standard library.
#
#   nodevent serve --web-service .        # reads config/config.yml and config/sites.yml; needs Redis
#   puma --port 9292 config.ru
#
# http://localhost:9292/batch.html shows messages that wait for a page, http://localhost:9292/resync.html a copy of the
# site's list that notices when it is not complete. The key of the service stays on the site: pages do not know it.

require "json"
require "net/http"
require "rack"

# The application.
class Site
  NAMESPACE = ENV.fetch("SITE", "local")
  SERVICE = URI(ENV.fetch("SERVICE", "http://localhost:1337"))
  API_KEY = ENV.fetch("API_KEY", "the-key-of-the-example-site")
  # Tokens of the users. An application would look into its sessions.
  USERS = { "token-of-ann" => 1, "token-of-bob" => 2 }.freeze
  PAGES = %w[/batch.html /resync.html /page.css].freeze

  def initialize
    @items = %w[Bread Milk]
    @lock = Mutex.new
  end

  def call(env)
    request = Rack::Request.new(env)
    case [request.request_method, request.path_info]
    in ["GET", "/"] then [302, { "Location" => "/batch.html" }, []]
    in ["GET", "/settings.js"] then settings
    in ["GET", "/socketrooms"] then rooms(env["HTTP_AUTHORIZATION"])
    in ["GET", "/items"] then json(200, @lock.synchronize { @items.dup })
    in ["POST", "/items"] then add(request.params["name"].to_s)
    in ["POST", "/messages"] then json(200, send_event(["user_1"], "message", [request.params["text"].to_s]))
    else page(env, request.path_info)
    end
  end

  private

  def page(env, path)
    PAGES.include?(path) ? Rack::Files.new(__dir__).call(env) : json(404, "Not Found")
  end

  # The service asks which rooms a client belongs to.
  def rooms(authorization)
    user = USERS[authorization.to_s.delete_prefix("Bearer ")]
    user ? json(200, ["user_#{user}", "staff"]) : json(401, "Unauthorized")
  end

  # Every page of user 1 gets the item. `resync` makes the service notice a page that has missed one.
  def add(name)
    @lock.synchronize { @items << name }
    json(200, send_event(["user_1"], "added", [name], resync: true))
  end

  def send_event(rooms, event, args, resync: false)
    uri = SERVICE.dup
    uri.path = "/send"
    uri.query = URI.encode_www_form(site: NAMESPACE, apiKey: API_KEY, resync: resync)
    body = JSON.generate(rooms: rooms, event: event, args: args)
    Net::HTTP.post(uri, body, "Content-Type" => "application/json").body
  end

  def settings
    text = "const SERVICE = #{JSON.generate(SERVICE.to_s)}, NAMESPACE = #{JSON.generate("/#{NAMESPACE}")};"
    [200, { "Content-Type" => "text/javascript", "Cache-Control" => "no-store" }, [text]]
  end

  def json(status, value)
    [status, { "Content-Type" => "application/json", "Cache-Control" => "no-store" }, [JSON.generate(value)]]
  end
end

run Site.new
