# frozen_string_literal: true

# The id that Turbo gives to a request of its page. The page ignores a refresh with this id, because it loads the change anyway.
class Current < ActiveSupport::CurrentAttributes
  attribute :request_id
end
