# frozen_string_literal: true

# Writes a bill of materials of crates in the format CycloneDX 1.5, from the output of `cargo metadata` on standard
# input and from the checksums in Cargo.lock. `bin/sbom` calls it. The same input gives the same output.

require "json"

OWN = "nodevent-server"

metadata = JSON.parse($stdin.read)
checksums = File.read("Cargo.lock").scan(/^name = "(.*)"\nversion = "(.*)"\nsource = ".*"\nchecksum = "(\h{64})"/)
                .to_h { |name, version, checksum| ["#{name}@#{version}", checksum] }

# Cargo allows a slash for "or".
def licenses(package)
  license = package["license"]&.gsub("/", " OR ") or return []

  [{ "expression" => license }]
end

packages = metadata["packages"]
references = packages.to_h { |package| [package["id"], "pkg:cargo/#{package['name']}@#{package['version']}"] }
own = packages.find { |package| package["name"] == OWN }
others = packages.reject { |package| package["id"] == own["id"] }.sort_by { |package| references[package["id"]] }

components = others.map do |package|
  name = "#{package['name']}@#{package['version']}"
  checksum = checksums[name]
  { "type" => "library", "bom-ref" => references[package["id"]], "name" => package["name"],
    "version" => package["version"], "purl" => references[package["id"]], "licenses" => licenses(package),
    "hashes" => checksum ? [{ "alg" => "SHA-256", "content" => checksum }] : [] }
end
dependencies = metadata.dig("resolve", "nodes").map do |node|
  { "ref" => references[node["id"]], "dependsOn" => node["dependencies"].map { |id| references[id] }.sort.uniq }
end

puts JSON.pretty_generate(
  "bomFormat" => "CycloneDX", "specVersion" => "1.5", "version" => 1,
  "metadata" => { "component" => { "type" => "application", "bom-ref" => references[own["id"]], "name" => own["name"],
                                   "version" => own["version"], "purl" => references[own["id"]] } },
  "components" => components, "dependencies" => dependencies.sort_by { |one| one["ref"] }
)
