# frozen_string_literal: true

# Refreshes pages of the Turbo board after a commit, as `broadcasts_refreshes` of turbo-rails does. A record says which, in
# `refreshed_streams`.
module Refreshes
  extend ActiveSupport::Concern

  included do
    after_commit -> { refreshed_streams.each { |stream| Streams.refresh(stream) } }
  end
end
