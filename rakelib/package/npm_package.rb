# frozen_string_literal: true

require "fileutils"
require "json"
require "tmpdir"

# The npm packages of the server: one per platform with its binary, and the package of the browser client with the
# command `nodevent`, which runs that binary.
module NpmPackage
  ROOT = File.expand_path("../..", __dir__)
  CLIENT = File.join(ROOT, "client")
  VERSION = File.read(File.join(ROOT, "Cargo.toml"))[/^version = "(.+)"/, 1]
  # By the names that Node gives to platforms. npm installs a package only where `os`, `cpu` and `libc` match.
  PLATFORMS = {
    "linux-x64" => { os: ["linux"], cpu: ["x64"], libc: ["glibc"] },
    "linux-arm64" => { os: ["linux"], cpu: ["arm64"], libc: ["glibc"] },
    "darwin-x64" => { os: ["darwin"], cpu: ["x64"] },
    "darwin-arm64" => { os: ["darwin"], cpu: ["arm64"] }
  }.freeze

  module_function

  # The platform of this machine.
  def platform
    IO.popen(["node", "--print", "`${process.platform}-${process.arch}`"], &:read).strip
  end

  def file(name, folder)
    File.join(folder, "#{name.delete_prefix('@').tr('/', '-')}-#{VERSION}.tgz")
  end

  # Packs the binary for this platform, and the client with the command. Returns the paths of both packages.
  # @param binary [String] the server
  # @param folder [String] where the packages are written
  def build(binary, folder)
    FileUtils.mkdir_p(folder)
    [server(binary, folder), client(folder)]
  end

  def server(binary, folder)
    selection = PLATFORMS.fetch(platform) { raise "there is no npm package for #{platform}" }
    Dir.mktmpdir do |stage|
      FileUtils.cp(binary, File.join(stage, "nodevent"))
      FileUtils.cp(File.join(ROOT, "LICENSE"), stage)
      pack(stage, folder, { name: "@nodevent/#{platform}", version: VERSION, license: "MIT", files: ["nodevent"],
                            description: "The NoDevent server for #{platform}: the package nodevent runs it.",
                            preferUnplugged: true, **selection })
    end
  end

  # The files of the client's package, and in addition the command. The packages for platforms are dependencies only
  # here, because those who work on the client do not need them.
  def client(folder)
    package = JSON.parse(File.read(File.join(CLIENT, "package.json")))
    Dir.mktmpdir do |stage|
      paths = package["files"].flat_map { |pattern| Dir.glob(pattern, base: CLIENT) }
      [*paths, "README.md", "LICENSE", "bin"].each do |path|
        FileUtils.mkdir_p(File.dirname(File.join(stage, path)))
        FileUtils.cp_r(File.join(CLIENT, path), File.join(stage, path))
      end
      pack(stage, folder, command(package))
    end
  end

  def command(package)
    package.except("scripts", "devDependencies").merge(
      "files" => [*package["files"], "bin"], "bin" => { "nodevent" => "bin/nodevent.js" },
      "optionalDependencies" => PLATFORMS.keys.to_h { |platform| ["@nodevent/#{platform}", VERSION] }
    )
  end

  def pack(stage, folder, package)
    File.write(File.join(stage, "package.json"), JSON.pretty_generate(package))
    system("npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", folder, chdir: stage, out: File::NULL,
                                                                                        exception: true)
    file(package[:name] || package["name"], folder)
  end
end
