# frozen_string_literal: true

# One process, a few threads. bin/demo says where to listen with `-b`.
threads 1, 8
environment ENV.fetch("RAILS_ENV", "development")
quiet
