# frozen_string_literal: true

require "nodevent"
require "nodevent/cable/adapter"

module ActionCable
  module SubscriptionAdapter
    # `adapter: nodevent` in `config/cable.yml`: Rails loads it by this name.
    Nodevent = ::NoDevent::Cable::Adapter
  end
end
