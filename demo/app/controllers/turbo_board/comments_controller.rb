# frozen_string_literal: true

module TurboBoard
  class CommentsController < BaseController
    before_action :load_comment, only: :destroy
    before_action(only: :destroy) { require_author(@comment) }

    def create
      discussion = Discussion.find(params[:discussion_id])
      comment = discussion.comments.new(params.require(:comment).permit(:body).merge(author: visitor))
      comment.save
      return_to(turbo_discussion_path(discussion), comment)
    end

    def destroy
      @comment.destroy!
      redirect_to turbo_discussion_path(@comment.discussion), status: :see_other
    end

    private

    def load_comment
      @comment = Comment.find(params[:id])
    end
  end
end
