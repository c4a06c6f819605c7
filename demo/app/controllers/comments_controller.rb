# frozen_string_literal: true

class CommentsController < ApplicationController
  before_action :load_comment, only: %i[update destroy]
  before_action(only: %i[update destroy]) { require_author(@comment) }

  def create
    @comment = Discussion.find(params[:discussion_id]).comments.new(comment_params.merge(author: visitor))
    respond(@comment.save, :created)
  end

  def update
    respond(@comment.update(comment_params), :ok)
  end

  def destroy
    @comment.destroy!
    respond_to do |format|
      format.json { head :no_content }
      format.html { redirect_to @comment.discussion, status: :see_other }
    end
  end

  private

  def load_comment
    @comment = Comment.find(params[:id])
  end

  def comment_params
    params.require(:comment).permit(:body)
  end

  def respond(saved, status)
    respond_to do |format|
      if saved
        format.json { render json: @comment, status: status }
        format.html { redirect_to discussion_path(@comment.discussion, anchor: "comment_#{@comment.id}") }
      else
        format.json { render json: { errors: @comment.errors.full_messages }, status: :unprocessable_entity }
        format.html { redirect_to @comment.discussion, alert: @comment.errors.full_messages.to_sentence }
      end
    end
  end
end
