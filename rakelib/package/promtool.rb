# frozen_string_literal: true

require "fileutils"

# `promtool` of Prometheus: the one that is named or on the PATH, otherwise that of Debian's package, which is
# downloaded and not installed.
module Promtool
  ROOT = File.expand_path("../..", __dir__)
  FOLDER = File.join(ROOT, "tmp/promtool")
  # What a download may take. Seconds.
  DOWNLOAD = "120"
  HINT = "install promtool (Debian: apt-get install prometheus), or name it with NODEVENT_PROMTOOL"

  module_function

  # @return [String] its path
  # @raise [RuntimeError] if there is none and it cannot be downloaded in time
  def path
    named = ENV.fetch("NODEVENT_PROMTOOL", nil)
    return named if named

    folders = ENV.fetch("PATH").split(File::PATH_SEPARATOR) + [File.join(FOLDER, "usr/bin")]
    found = -> { folders.map { |folder| File.join(folder, "promtool") }.find { |path| File.executable?(path) } }
    found.call || (download && found.call) || raise("there is no promtool; #{HINT}")
  end

  # @return [Boolean] whether the package was downloaded and unpacked
  def download
    FileUtils.mkdir_p(FOLDER)
    return false unless system("timeout", DOWNLOAD, "apt-get", "download", "prometheus", chdir: FOLDER, out: File::NULL)

    package = Dir[File.join(FOLDER, "prometheus_*.deb")].max_by { |file| File.mtime(file) }
    package ? system("dpkg-deb", "--extract", package, FOLDER) : false
  end
end
