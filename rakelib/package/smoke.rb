# frozen_string_literal: true

# Tries an installed gem: the extension signs, the server runs from the PATH, and a message goes from one to the other
# and back. Run by `rake package:smoke` in a folder where nothing else is.

require "nodevent"
require "nodevent/doctor"
require "tmpdir"

home = ARGV.fetch(0)
loaded = $LOADED_FEATURES.grep(%r{/nodevent\.(so|bundle)\z}).first
abort "the extension is not the installed one: #{loaded}" unless loaded.start_with?(File.realpath(home))

version = IO.popen([File.join(home, "bin", "nodevent"), "--version"], &:read)
abort "the server is of another version: #{version}" unless version.include?(NoDevent::VERSION)

file = File.join(Dir.mktmpdir, "nodevent.yml")
secret = "a-secret-for-this-smoke-test-only"
File.write(file, "port: 0\nhost: 127.0.0.1\n/nodevent: {secret: #{secret}}\n")
log, into = IO.pipe
server = Process.spawn(File.join(home, "bin", "nodevent"), file, err: into, out: into)
into.close
begin
  line = log.each_line.find { |each| each.include?("listening") } or abort "the server did not start"
  NoDevent::Emitter.config = { host: line[/url=(\S+)/, 1], secret: secret }
  abort "a message did not come back" unless NoDevent::Doctor.report
  Process.kill(:TERM, server)
  abort "the server did not stop well" unless Process.wait2(server).last.exitstatus.zero?
ensure
  begin
    Process.kill(:KILL, server)
  rescue Errno::ESRCH
    nil
  end
end
puts "nodevent #{NoDevent::VERSION}: installed, and a message came back."
