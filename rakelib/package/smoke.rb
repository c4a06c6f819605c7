# frozen_string_literal: true

# Tests an installed gem: the extension signs, the server starts, and a message makes a round trip. Run by
# `rake package:smoke` in an empty folder, and by `rake package:native:smoke`, which passes the Ruby ABI whose folder
# must contain the extension.

require "nodevent"
require "nodevent/doctor"
require "tmpdir"

home, abi = ARGV
loaded = $LOADED_FEATURES.grep(%r{/nodevent\.(so|bundle)\z}).first
abort "the extension is not the installed one: #{loaded}" unless loaded.start_with?(File.realpath(home))
abort "the extension is not in the folder of Ruby #{abi}: #{loaded}" unless !abi || loaded.include?("/nodevent/#{abi}/")

version = IO.popen([File.join(home, "bin", "nodevent"), "--version"], &:read)
abort "the server has another version: #{version}" unless version.include?(NoDevent::VERSION)

file = File.join(Dir.mktmpdir, "nodevent.yml")
secret = "a-secret-for-this-smoke-test-only"
File.write(file, "port: 0\nbind: 127.0.0.1\npublish: local\n/nodevent: {secret: #{secret}}\n")
log, into = IO.pipe
server = Process.spawn(File.join(home, "bin", "nodevent"), file, err: into, out: into)
into.close
begin
  line = log.each_line.find { |each| each.include?("listening") } or abort "the server did not start"
  NoDevent::Emitter.config = { public_url: line[/url=(\S+)/, 1], secret: secret }
  tag = Object.new.extend(NoDevent::Helper).javascript_include_nodevent(async: true)
  abort "the tag has no queue: #{tag}" unless tag.start_with?("<script>") && tag.include?("nodevent.queue")
  abort "a message did not arrive" unless NoDevent::Doctor.report
  Process.kill(:TERM, server)
  abort "the server did not exit with status 0" unless Process.wait2(server).last.exitstatus.zero?
ensure
  begin
    Process.kill(:KILL, server)
  rescue Errno::ESRCH
    nil
  end
end
puts "nodevent #{NoDevent::VERSION}: installed, and a message arrived."
