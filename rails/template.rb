# frozen_string_literal: true

# A new application with a live page, by the template of `rails new`:
#
#   rails new live --template NoDevent/rails/template.rb
#
# The application uses this checkout of NoDevent, or the published gem if the template is not in one. After
# `bin/rails server`, each message that is created appears in every browser that has the page open.

require "pathname"

# Evaluated as a text, so `__dir__` is not its folder.
checkout = Pathname.new(File.expand_path("..", File.dirname(__FILE__))).realpath
if checkout.join("nodevent.gemspec").exist?
  gem "nodevent", path: checkout.relative_path_from(Pathname.new(destination_root).realpath).to_s
  unless checkout.join("lib/nodevent").glob("nodevent.{so,bundle}").any?
    say "Building the gem and the server: this takes some minutes, and requires Rust (https://rustup.rs)."
    inside(checkout.to_s) { run "rake compile compile:server", abort_on_failure: true }
  end
else
  gem "nodevent"
end

after_bundle do
  generate "nodevent:install"
  generate :model, "message", "body:string"
  rails_command "db:migrate"

  create_file "app/models/message.rb", <<~'RUBY', force: true
    class Message < ApplicationRecord
      include NoDevent::Base
      # After each commit: `create` to the room "Message".
      emits_changes message: ->(message) { message.slice(:id, :body) }
    end
  RUBY

  create_file "app/controllers/messages_controller.rb", <<~'RUBY'
    class MessagesController < ApplicationController
      def index
        @messages = Message.order(:id)
      end

      def create
        Message.create!(params.require(:message).permit(:body))
        redirect_to root_path, status: :see_other
      end
    end
  RUBY

  create_file "app/views/messages/index.html.erb", <<~'ERB'
    <h1>Messages</h1>
    <%= tag.ul id: "messages", data: nodevent_data(Message) do %>
      <% @messages.each do |message| %><%= tag.li message.body, id: dom_id(message) %><% end %>
    <% end %>
    <%= form_with model: Message.new, local: true do |form| %>
      <%= form.text_field :body, required: true, "aria-label": "Message" %> <%= form.submit "Send" %>
    <% end %>

    <%= javascript_tag nonce: true, type: "module" do %>
      const list = document.getElementById("messages");
      const { nodeventRoom, nodeventKey, nodeventPosition } = list.dataset;
      const room = NoDevent.room({ room: nodeventRoom, key: nodeventKey, position: nodeventPosition });
      const remove = room.on("create", ({ id, body }) => {
        if (document.getElementById(`message_${id}`)) return;   // rendered with the page
        list.append(Object.assign(document.createElement("li"), { id: `message_${id}`, textContent: body }));
      });
      room.join();
      addEventListener("turbo:before-render", () => { remove(); room.leave(); }, { once: true });   // only with Turbo
    <% end %>
  ERB

  route %(root "messages#index")
  route "resources :messages, only: :create"

  say <<~TEXT

    Start it with `bin/rails server`, open http://localhost:3000 in two browsers, and write in either, or in another terminal:
      bin/rails runner 'Message.create!(body: "Hello")'
  TEXT
end
