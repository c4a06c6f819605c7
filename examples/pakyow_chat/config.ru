# frozen_string_literal: true

# A chat like the example of pakyow-realtime, in plain Rack: the page is subscribed while it is rendered, a form pushes,
# and a button calls a route over the socket.
#
#   NODEVENT_ENV=development nodevent serve config/nodevent.yml
#   puma --port 9292 config.ru
#
# Open http://localhost:9292/ in two windows.

require "erb"
require "json"
require "nodevent"
require "rack"
require "rack/session/cookie"

# Who is here: a message of the application itself, when a page has connected or is gone.
NoDevent::Realtime.on(:join) { NoDevent::Realtime.push("#{session['name']} is here", :people) }
NoDevent::Realtime.on(:leave) { NoDevent::Realtime.push("#{session['name']} has left", :people) }

# A handler for messages of pages: `{"id": 1, "action": "shout", "text": "hello"}`.
NoDevent::Realtime.handler(:shout) do |message, session, response|
  NoDevent::Realtime.push({ "name" => session["name"], "text" => message["text"].to_s.upcase }, :chat)
  response.merge(status: 200, body: "shouted")
end

# The application.
class Chat
  PAGE = ERB.new(File.read(File.join(__dir__, "page.html.erb")))

  def call(env)
    request = Rack::Request.new(env)
    socket = NoDevent::Realtime.socket(env)
    case [request.request_method, request.path_info]
    in ["GET", "/"] then page(request, socket)
    in ["POST", "/messages"] then push(request, socket)
    in ["POST", "/quiet"] then quiet(socket)
    in ["GET", "/time"] then text(200, "#{Time.now.utc} over #{request.socket? ? 'the socket' : 'HTTP'}")
    else text(404, "Not Found")
    end
  end

  private

  def page(request, socket)
    name = request.session["name"] ||= "Visitor #{rand(1000)}"
    socket.subscribe(:chat, :people)
    [200, { "Content-Type" => "text/html; charset=utf-8" }, [PAGE.result_with_hash(name: name)]]
  end

  # A form of another site has no session: its cookie is `SameSite`.
  def push(request, socket)
    name = request.session["name"] or return text(403, "open the page first")
    socket.push({ "name" => name, "text" => request.params["text"].to_s }, :chat)
    text(200, "pushed")
  end

  # The page stays open and connected, and receives no messages any more.
  def quiet(socket)
    socket.unsubscribe(:chat)
    text(200, "quiet")
  end

  def text(status, text)
    [status, { "Content-Type" => "text/plain; charset=utf-8" }, [text]]
  end
end

use Rack::Session::Cookie, secret: ENV.fetch("SESSION_SECRET", "only for this example: #{'0' * 64}"), same_site: :lax
use NoDevent::Realtime
run Chat.new
