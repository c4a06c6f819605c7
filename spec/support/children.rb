# frozen_string_literal: true

require "open3"
require "rbconfig"

# Processes that a spec starts: Ruby from scratch, and forks of its own.
module Children
  # No child may keep a spec for ever.
  LIMITED = %w[timeout 90].freeze

  # As from a shell where neither NoDevent nor Bundler has been set up.
  CLEAN = { "NODEVENT_CONFIG" => nil, "RUBYOPT" => nil, "RUBYLIB" => nil, "BUNDLE_GEMFILE" => nil }.freeze

  # What a fresh Ruby prints.
  def ruby(script, env: {}, options: [])
    out, err, status = Open3.capture3(CLEAN.merge(env), *LIMITED, RbConfig.ruby,
                                      "-I#{ROOT}/lib", *options, "-e", script)
    raise "the script failed (#{status}): #{err}" unless status.success?

    out
  end

  # Runs the block in a fork, which must end well.
  def in_fork(&block)
    pid = fork(&block)
    _, status = Process.wait2(pid)
    raise "the fork ended with #{status}" unless status.success?
  end
end
