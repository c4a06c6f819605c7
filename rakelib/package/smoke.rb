# frozen_string_literal: true

# Tries an installed gem: the extension signs, the server runs from the PATH, and a message goes from one to the other
# and back. Run by `rake package:smoke` in a folder where nothing else is, and by `rake package:native:smoke`, which
# names the Ruby ABI in whose folder the extension must be.

require "nodevent"
require "nodevent/doctor"
require "tmpdir"

home, abi = ARGV
loaded = $LOADED_FEATURES.grep(%r{/nodevent\.(so|bundle)\z}).first
abort "the extension is not the installed one: #{loaded}" unless loaded.start_with?(File.realpath(home))
abort "the extension is not in the folder of Ruby #{abi}: #{loaded}" unless !abi || loaded.include?("/nodevent/#{abi}/")

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
