# frozen_string_literal: true

Rails.application.routes.draw do
  root "discussions#index"

  resources :discussions, only: %i[index show create update destroy] do
    resources :comments, only: :create
    resource :presence, only: :create
    post "presence/end", to: "presences#destroy"
  end
  resources :comments, only: %i[update destroy]
  resource :visitor, only: :update
end
