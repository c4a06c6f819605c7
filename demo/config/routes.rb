# frozen_string_literal: true

Rails.application.routes.draw do
  root "discussions#index"

  resources :discussions, only: %i[index show create update destroy] do
    resources :comments, only: :create
  end
  resources :comments, only: %i[update destroy]
  resource :visitor, only: :update
  resource :session, only: %i[new create destroy]
  resource :live_token, only: :show

  # The same discussions with plain Turbo.
  scope "turbo", module: "turbo_board", as: "turbo" do
    root "discussions#index"
    resources :discussions, only: %i[show create destroy] do
      resources :comments, only: :create
    end
    resources :comments, only: :destroy
  end
  mount Rack::Files.new(Packages::FOLDER.to_s) => Packages::PATH

  # The NoDevent server notifies the application here; config/initializers/hooks.rb says what follows.
  mount NoDevent::Hooks => "/nodevent/hooks"

  # Pages reach the server here, and in development there is /nodevent/console.
  mount NoDevent::Server => "/nodevent"
end
