# frozen_string_literal: true

# Pages connect to NoDevent's server, whose address is in the layout's `action_cable_meta_tag`. Rails serves no
# WebSockets.
unless Rails.env.test?
  Rails.application.config.action_cable.url = NoDevent::Cable.url
  Rails.application.config.action_cable.mount_path = nil
end
