# frozen_string_literal: true

class VisitorsController < ApplicationController
  def update
    return refuse_name unless visitor.update(name: params.require(:visitor).fetch(:name, ""))

    # Pages that are open show the new name at once. Lists of presence have it as soon as this page presents its new token.
    NoDevent::Emitter.emit(Readers::BOARD, "renamed", user: visitor.id, info: visitor.portrait)
    respond_to do |format|
      format.json { render json: { **visitor.portrait, token: visitor.token } }
      format.html { redirect_back fallback_location: root_path }
    end
  end

  private

  def refuse_name
    errors = visitor.errors.full_messages
    respond_to do |format|
      format.json { render json: { errors: errors }, status: :unprocessable_entity }
      format.html { redirect_back fallback_location: root_path, alert: errors.to_sentence }
    end
  end
end
