# frozen_string_literal: true

class DiscussionsController < ApplicationController
  before_action :load_discussion, only: %i[show update destroy]
  before_action(only: %i[update destroy]) { require_author(@discussion) }

  def index
    @discussion = Discussion.new
    list
    respond_to do |format|
      format.html
      format.json { render json: @page }
    end
  end

  def show
    @comment = Comment.new
    thread
    respond_to do |format|
      format.html
      format.json { render json: @page }
    end
  end

  def create
    @discussion = Discussion.new(discussion_params.merge(author: visitor))
    return list && refuse(@discussion, :index) unless @discussion.save

    respond_to do |format|
      format.json { render json: @discussion, status: :created }
      format.html { redirect_to @discussion }
    end
  end

  def update
    return thread && refuse(@discussion, :show) unless @discussion.update(discussion_params)

    respond_to do |format|
      format.json { render json: @discussion }
      format.html { redirect_to @discussion }
    end
  end

  def destroy
    @discussion.destroy!
    respond_to do |format|
      format.json { head :no_content }
      format.html { redirect_to root_path, status: :see_other }
    end
  end

  private

  def load_discussion
    @discussion = Discussion.find(params[:id])
  end

  def discussion_params
    params.require(:discussion).permit(:title, :body)
  end

  # The state of a page, with its rooms and keys; the page loads it again after each join.
  def list
    @discussions = Discussion.latest.to_a
    @lately_here = Visitor.lately_here.to_a
    @recent = Comment.includes(:discussion).order(id: :desc).limit(6)
    @page = { nodevent: Discussion.room_json, discussions: @discussions, board: Readers.room_json(Readers::BOARD) }
  end

  def thread
    @comments = @discussion.comments.to_a
    @page = {
      discussion: @discussion, comments: @comments,
      board: Readers.room_json(Readers::BOARD), readers: Readers.room_json(Readers.of(@discussion))
    }
  end
end
