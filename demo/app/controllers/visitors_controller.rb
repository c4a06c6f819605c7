# frozen_string_literal: true

class VisitorsController < ApplicationController
  def update
    @visitor = remember(visitor.renamed(params.require(:visitor).fetch(:name, "")))
    respond_to do |format|
      format.json { render json: { id: visitor.id, name: visitor.name } }
      format.html { redirect_back fallback_location: root_path }
    end
  end
end
