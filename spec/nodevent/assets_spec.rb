# frozen_string_literal: true

require "tmpdir"

# Issue 18, "From checkout to production": the assets of a new application are compiled as in an image, without the
# secrets of production. The elements are among them. With Propshaft where that is installed, or else Sprockets.
RSpec.describe "rails assets:precompile" do
  around do |example|
    Dir.mktmpdir do |folder|
      @app = File.join(folder, "live")
      example.run
    end
  end

  def run(*command, env: {})
    clean = Children::CLEAN.merge("RUBYOPT" => "-W0", "NODEVENT_SECRET" => nil, "NODEVENT_PUBLISH_KEY" => nil, "REDIS_URL" => nil)
    out, status = Open3.capture2e(clean.merge(env), *Children::LIMITED, *command,
                                  chdir: File.directory?(@app) ? @app : File.dirname(@app))
    raise "#{command.join(' ')} failed: #{out}" unless status.success?

    out
  end

  it "needs no secret, and publishes the elements, which the layout's tag finds" do
    skipped = %w[javascript bundle git spring listen bootsnap test system-test action-cable action-mailer action-mailbox
                 action-text active-storage webpack-install turbolinks]
    propshaft = Gem::Specification.find_all_by_name("propshaft").any?
    pipeline = propshaft ? "propshaft" : "sprockets-rails"
    run("rails", "new", @app, *skipped.map { |part| "--skip-#{part}" }, *("--asset-pipeline=propshaft" if propshaft))
    File.write(File.join(@app, "Gemfile"), ["rails", "puma", "sqlite3", pipeline].map { |name| "gem \"#{name}\"\n" }.join +
                                           %(gem "nodevent", path: "#{ROOT}"\n))
    run("bin/rails", "generate", "nodevent:install", env: { "RAILS_ENV" => "development" })
    production = { "RAILS_ENV" => "production", "SECRET_KEY_BASE" => "1", "SECRET_KEY_BASE_DUMMY" => "1" }
    run("bin/rails", "assets:precompile", env: production)
    files = Dir.children(File.join(@app, "public/assets"))
    digest = propshaft ? /\h{8,}/ : /\h{32,}/
    %w[nodevent-room nodevent-stream-source nodevent_controller].each { |name| expect(files.grep(/\A#{name}-#{digest}\.js\z/).size).to eq(1) }
    page = 'puts ApplicationController.render(inline: "", layout: "application")'
    expect(run("bin/rails", "runner", page, env: production)).to match(%r{<script src="/assets/nodevent-stream-source-\h+\.js" defer="defer"})
  end
end
