# frozen_string_literal: true

require "etc"
require "time"

module Bench
  # The machine and the versions of a run.
  module Machine
    module_function

    def describe
      {
        date: Time.now.utc.iso8601,
        commit: commit,
        processor: File.read("/proc/cpuinfo")[/^model name\s*: (.*)$/, 1],
        cores: Etc.nprocessors,
        memory_gb: (File.read("/proc/meminfo")[/^MemTotal:\s*(\d+)/, 1].to_i / 1e6).round,
        kernel: Etc.uname[:release].split("-").first,
        versions: versions
      }
    end

    def commit
      short = `git -C #{ROOT} rev-parse --short HEAD`.strip
      changed = `git -C #{ROOT} status --porcelain -- Cargo.lock protocol/src server/src bench/load/src`
      changed.empty? ? short : "#{short}-changed"
    end

    def versions
      { rust: line("rustc --version"), node: line("node --version"), ruby: RUBY_VERSION,
        redis: line("redis-server --version")&.slice(/v=(\S+)/, 1), nginx: line("nginx -v 2>&1")&.slice(%r{/(\S+)}, 1),
        nchan: line("dpkg-query -W -f '${Version}' libnginx-mod-nchan 2>/dev/null"),
        socket_io: version_in("socket_io/package-lock.json", %r{node_modules/socket\.io": \{\s*"version": "([^"]+)}),
        socketioxide: version_in("socketioxide/Cargo.lock", /name = "socketioxide"\nversion = "([^"]+)/),
        action_cable: Gem::Specification.find_all_by_name("actioncable").first&.version&.to_s }.compact
    end

    def line(command)
      text = `#{command}`.lines.first&.strip
      text unless text.to_s.empty?
    rescue Errno::ENOENT
      nil
    end

    def version_in(file, pattern)
      File.read(File.join(FOLDER, "peers", file))[pattern, 1]
    end

    def load_average
      File.read("/proc/loadavg").split.first.to_f
    end
  end
end
