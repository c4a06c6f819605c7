# frozen_string_literal: true

module TurboBoard
  class DiscussionsController < BaseController
    before_action :load_discussion, only: %i[show destroy]
    before_action(only: :destroy) { require_author(@discussion) }

    def index
      @discussions = Discussion.latest
      @recent = Comment.includes(:discussion).order(id: :desc).limit(6)
    end

    def show
      @comments = @discussion.comments
    end

    def create
      discussion = Discussion.new(params.require(:discussion).permit(:title, :body).merge(author: visitor))
      return_to(discussion.save ? turbo_discussion_path(discussion) : turbo_root_path, discussion)
    end

    def destroy
      @discussion.destroy!
      redirect_to turbo_root_path, status: :see_other
    end

    private

    def load_discussion
      @discussion = Discussion.find(params[:id])
    end
  end
end
