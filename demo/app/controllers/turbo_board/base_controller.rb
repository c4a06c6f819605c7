# frozen_string_literal: true

module TurboBoard
  # The same discussions with plain Turbo: pages are rendered here, and their streams refresh them.
  class BaseController < ApplicationController
    layout "turbo_board"

    # The import map and the style of Turbo's progress bar are inline, and have the nonce of the page.
    content_security_policy do |policy|
      policy.script_src :self
      policy.style_src :self
      policy.connect_src :self, -> { NoDevent::Cable.url }
    end

    before_action :require_packages
    before_action { Current.request_id = request.headers["X-Turbo-Request-Id"] }

    private

    def require_packages
      render "turbo_board/missing", status: :service_unavailable unless Packages.installed?
    end

    def not_found
      redirect_to turbo_root_path, alert: "That discussion does not exist any more.", status: :see_other
    end

    # Turbo shows the page of the redirect, and keeps what was typed elsewhere on it.
    def return_to(path, record)
      redirect_to path, alert: record.errors.full_messages.to_sentence.presence, status: :see_other
    end
  end
end
