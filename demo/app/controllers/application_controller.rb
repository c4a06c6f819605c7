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

  helper_method :visitor

  private

  def visitor
    @visitor ||= known_visitor || new_visitor
  end

  def known_visitor
    Visitor.new(session[:visitor_id], session[:visitor_name]) if session[:visitor_id]
  end

  def new_visitor
    remember(Visitor.anonymous)
  end

  def remember(visitor)
    session[:visitor_id] = visitor.id
    session[:visitor_name] = visitor.name
    visitor
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
