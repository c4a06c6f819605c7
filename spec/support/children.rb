# frozen_string_literal: true

require "open3"
require "rbconfig"

# Processes that a spec starts: new Ruby processes, and forks.
module Children
  # Limits the lifetime of a child.
  LIMITED = %w[timeout 90].freeze

  # The environment of a shell without settings for NoDevent or Bundler.
  CLEAN = { "NODEVENT_CONFIG" => nil, "RUBYOPT" => nil, "RUBYLIB" => nil, "BUNDLE_GEMFILE" => nil }.freeze

  # The output of a script in a new Ruby process.
  def ruby(script, env: {}, options: [])
    out, err, status = Open3.capture3(CLEAN.merge(env), *LIMITED, RbConfig.ruby,
                                      "-I#{ROOT}/lib", *options, "-e", script)
    raise "the script failed (#{status}): #{err}" unless status.success?

    out
  end

  # Runs the block in a fork, which must exit with status 0.
  def in_fork(&block)
    pid = fork(&block)
    _, status = Process.wait2(pid)
    raise "the fork ended with #{status}" unless status.success?
  end
end
