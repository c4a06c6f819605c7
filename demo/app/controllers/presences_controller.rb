# frozen_string_literal: true

# Receives reports of pages that a discussion is open or was closed in them.
class PresencesController < ApplicationController
  def create
    discussion = Discussion.find(params[:discussion_id])
    discussion.visited(tab)
    render json: { here: discussion.here }
  end

  def destroy
    Discussion.find(params[:discussion_id]).left(tab)
    head :no_content
  end

  private

  def tab
    params.require(:tab).to_s
  end
end
