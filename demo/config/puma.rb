# frozen_string_literal: true

# One process, a few threads. bin/demo sets the address with `-b`.
threads 1, 8
environment ENV.fetch("RAILS_ENV", "development")
quiet
