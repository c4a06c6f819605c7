# frozen_string_literal: true

# Checks a Debian package without a container: what it contains, its unit, and that its command runs with the
# configuration that it installs. Run by `rake package:deb:check`. Row N-12

require "tmpdir"

package = ARGV.fetch(0)

def check(what)
  yield or abort "the Debian package: #{what}"
end

def check_files(root, control)
  check("its scripts are not valid") do
    %w[postinst prerm postrm].all? { |script| system("sh", "-n", File.join(control, script)) }
  end
  check("it overwrites the configuration") { File.read(File.join(control, "conffiles")).include?("/etc/nodevent.yml") }
  check("it has no command") { File.executable?(File.join(root, "usr/bin/nodevent")) }
end

def check_unit(root)
  unit = File.read(File.join(root, "usr/lib/systemd/system/nodevent.service"))
  check("its unit does not start `nodevent`") { unit.match?(/^ExecStart=nodevent /) }
  check("its unit does not start a killed server again") { unit.match?(/^Restart=always$/) }
  # The unit finds its command in the folders of the system, where this package is not installed.
  local = File.join(root, "nodevent.service")
  File.write(local, unit.sub(/^ExecStart=nodevent/, "ExecStart=#{root}/usr/bin/nodevent"))
  lint = IO.popen(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", local], err: %i[child out], &:read)
  check("its unit has mistakes: #{lint}") { lint.empty? }
end

def check_server(root)
  environment = { "NODEVENT_SECRET" => "a" * 64, "NODEVENT_PUBLISH_KEY" => "b" * 64 }
  configuration = File.join(root, "etc/nodevent.yml")
  File.write(configuration, File.read(configuration).sub(/^port: .*/, "port: 0"))
  log, into = IO.pipe
  server = Process.spawn(environment, File.join(root, "usr/bin/nodevent"), "serve", configuration, err: into, out: into)
  into.close
  check("its server does not start") { log.each_line.any? { |line| line.include?("listening") } }
  Process.kill(:TERM, server)
  check("its server does not stop") { Process.wait2(server).last.exitstatus.zero? }
end

Dir.mktmpdir do |root|
  Dir.mktmpdir do |control|
    system("dpkg-deb", "--extract", package, root, exception: true)
    system("dpkg-deb", "--control", package, control, exception: true)
    check_files(root, control)
    check_unit(root)
    check_server(root)
  end
end
puts "#{File.basename(package)}: its unit is valid, and its server starts."
