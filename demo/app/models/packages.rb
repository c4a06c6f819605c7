# frozen_string_literal: true

# The browser files of the Turbo board, unchanged from npm: `npm install` in this folder gets those of package-lock.json.
module Packages
  FOLDER = Rails.root.join("node_modules")
  PATH = "/packages"
  FILES = {
    "@hotwired/turbo-rails" => "@hotwired/turbo-rails/app/javascript/turbo/index.js",
    "@hotwired/turbo" => "@hotwired/turbo/dist/turbo.es2017-esm.js",
    "@rails/actioncable/src" => "@rails/actioncable/app/assets/javascripts/actioncable.esm.js"
  }.freeze

  class << self
    def installed?
      FILES.values.all? { |file| FOLDER.join(file).file? }
    end

    # Where the browser finds modules. Those of turbo-rails import each other without the ending of their names.
    def import_map
      named = FILES.transform_values { |file| "#{PATH}/#{file}" }
      parts = FOLDER.join(FILES["@hotwired/turbo-rails"]).dirname.glob("*.js")
      paths = parts.map { |part| "#{PATH}/#{part.relative_path_from(FOLDER)}" }
      { imports: named.merge(paths.to_h { |path| [path.delete_suffix(".js"), path] }) }
    end
  end
end
