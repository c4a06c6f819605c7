# frozen_string_literal: true

# Signing out, and in again. There is no password: a browser can sign in as the visitor that it was, or as a new one.
class SessionsController < ApplicationController
  skip_before_action :require_visitor

  def new
    return redirect_to root_path if visitor || !last_visitor

    @page = nil
  end

  def create
    sign_in(params[:as] == "new" ? Visitor.anonymous! : visitor || last_visitor || Visitor.anonymous!)
    respond_to do |format|
      format.json { render json: { id: visitor.id } }
      format.html { redirect_to root_path, status: :see_other }
    end
  end

  # Ends the sessions before the connections: otherwise a page could get a new token in between.
  def destroy
    if visitor
      visitor.sign_out!
      NoDevent.revoke(user: visitor)
    end
    redirect_to new_session_path, status: :see_other
  rescue NoDevent::RevokeError => e
    logger.error(e.message)
    redirect_to new_session_path, status: :see_other, alert: "The NoDevent server cannot be reached, so other tabs stay connected until their tokens expire."
  end
end
