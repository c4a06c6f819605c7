# frozen_string_literal: true

# The next token of a page that is still open. A visitor who has signed out gets none.
class LiveTokensController < ApplicationController
  skip_before_action :require_visitor

  def show
    response.headers["Cache-Control"] = "no-store"
    return head :no_content unless visitor

    render plain: visitor.token
  end
end
