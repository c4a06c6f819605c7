# frozen_string_literal: true

class ApplicationController < ActionController::Base
  protect_from_forgery with: :exception

  # Allows scripts, styles and connections of this application and of the NoDevent server; inline only the start of its tag.
  content_security_policy do |policy|
    server = -> { NoDevent::Emitter.config["public_url"] }
    policy.default_src :self
    policy.script_src :self, server, NoDevent.csp_hash
    policy.connect_src :self, server, -> { NoDevent::Emitter.config["public_url"].sub(/\Ahttp/, "ws") }
    policy.base_uri :none
    policy.object_src :none
  end

  rescue_from ActiveRecord::RecordNotFound, with: :not_found
  rescue_from(ActiveRecord::RecordInvalid) { head :unprocessable_entity }

  before_action :require_visitor

  helper_method :visitor, :last_visitor

  private

  # The visitor who is signed in, or nil. After a sign-out the session still names the visitor, who can sign in again.
  def visitor
    return @visitor if defined?(@visitor)

    @visitor = Visitor.of_session(*session[:visitor]) if session[:visitor]
  end

  def sign_in(visitor)
    session[:visitor] = visitor.session_key
    @visitor = visitor
  end

  # A browser that opens the board for the first time gets a new visitor.
  def require_visitor
    return if visitor
    return sign_in(Visitor.anonymous!) unless last_visitor

    respond_to do |format|
      format.json { render json: { errors: ["You are signed out."] }, status: :unauthorized }
      format.any { redirect_to new_session_path }
    end
  end

  def last_visitor
    Visitor.find_by(id: session[:visitor].first) if session[:visitor]
  end

  # Only the author can change a record.
  def require_author(record)
    head :forbidden unless record.by?(visitor)
  end

  def refuse(record, template)
    respond_to do |format|
      format.json { render json: { errors: record.errors.full_messages }, status: :unprocessable_entity }
      format.html { render template, status: :unprocessable_entity }
    end
  end

  def not_found
    respond_to do |format|
      format.json { render json: { errors: ["This record does not exist any more."] }, status: :not_found }
      format.any { redirect_to root_path, alert: "That discussion does not exist any more." }
    end
  end
end
