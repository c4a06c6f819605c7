# frozen_string_literal: true

require "tmpdir"

# Issue 18, "From checkout to production": the Dockerfile that Rails generates, with the gem in a submodule.
#
# Cases: the Dockerfile of this Rails, if it generates one, and one with the stages that Rails 7.1, 7.2 and 8 write; a
# second run; no .dockerignore; Windows line ends; another Dockerfile; a gem outside of the application. The image is
# built as far as that is possible without containers. NODEVENT_TEST_FULL=1 compiles the gem in it, too.
RSpec.describe "The Dockerfile of Rails, with the gem in a folder of the application" do
  # What the stages have in common from Rails 7.1 to 8.1.
  let(:stages) { <<~DOCKERFILE }
    ARG RUBY_VERSION=3.3.8
    FROM docker.io/library/ruby:$RUBY_VERSION-slim AS base

    WORKDIR /rails
    ENV RAILS_ENV="production" \\
        BUNDLE_PATH="/usr/local/bundle"

    # Throw-away build stage
    FROM base as build

    RUN apt-get update -qq && \\
        apt-get install --no-install-recommends -y build-essential git

    # Install application gems
    COPY Gemfile Gemfile.lock ./
    RUN bundle install && \\
        rm -rf ~/.bundle/

    # Copy application code
    COPY . .

    FROM base
    COPY --from=build /rails /rails
    CMD ["./bin/rails", "server"]
  DOCKERFILE

  around do |example|
    Dir.mktmpdir do |folder|
      @folder = folder
      @app = File.join(folder, "live")
      example.run
    end
  end

  def run(*command, folder: @app, env: {})
    unset = %w[NODEVENT_SECRET NODEVENT_PUBLISH_KEY REDIS_URL NODEVENT_PROFILE NODEVENT_TARGET_DIR NODEVENT_PACKAGES]
            .to_h { |name| [name, nil] }
    # The gems of the system have no checksums, which Bundler 4 requires of a frozen lock file.
    clean = Children::CLEAN.merge("RUBYOPT" => "-W0", "BUNDLE_LOCKFILE_CHECKSUMS" => "false", **unset)
    out, status = Open3.capture2e(clean.merge(env), *Children::LIMITED, *command, chdir: folder)
    raise "#{command.join(' ')} failed: #{out}" unless status.success?

    out
  end

  def generate
    run("bin/rails", "generate", "nodevent:install", env: { "RAILS_ENV" => "development" })
  end

  def read(path)
    File.read(File.join(@app, path))
  end

  def write(path, text)
    FileUtils.mkdir_p(File.dirname(File.join(@app, path)))
    File.binwrite(File.join(@app, path), text)
  end

  def installed?(gem)
    Gem::Specification.find_all_by_name(gem).any?
  end

  # A new application with what Rails generates, as far as its gems are here.
  def create(gem: "vendor/NoDevent")
    pipeline = installed?("propshaft") ? %w[--asset-pipeline=propshaft] : %w[--skip-asset-pipeline --skip-sprockets]
    skipped = %w[javascript bundle git spring listen bootsnap test system-test action-cable action-mailer action-mailbox action-text
                 active-storage webpack-install turbolinks].map { |part| "--skip-#{part}" }
    run("rails", "new", @app, *skipped, *pipeline, folder: @folder)
    gems = %w[rails puma sqlite3] + %w[propshaft].select { |name| installed?(name) }
    write("Gemfile", gems.map { |name| "gem \"#{name}\"\n" }.join + %(gem "nodevent", path: "#{gem}"\n))
  end

  # The files of the repository, as `git submodule add` checks them out, and what was built on this machine.
  def add_submodule
    target = File.join(@app, "vendor/NoDevent")
    FileUtils.mkdir_p(target)
    files = run("git", "ls-files", "--cached", "--others", "--exclude-standard", folder: ROOT).lines(chomp: true)
    files.grep_v(%r{\A(?:docs|e2e|server/tests|protocol/fuzz|bench/runs|demo)/}).each do |file|
      next unless File.file?(File.join(ROOT, file))

      FileUtils.mkdir_p(File.dirname(File.join(target, file)))
      FileUtils.cp(File.join(ROOT, file), File.join(target, file))
    end
    write("vendor/NoDevent/.git", "gitdir: ../../.git/modules/vendor/NoDevent\n")
    write("vendor/NoDevent/target/debug/nodevent", "of this machine")
    FileUtils.cp(extension, File.join(target, "lib/nodevent"))
  end

  def extension
    File.join(ROOT, "lib/nodevent/nodevent.#{RbConfig::CONFIG['DLEXT']}")
  end

  def compile(command, folder)
    environment = { "NODEVENT_PROFILE" => "dev", "NODEVENT_TARGET_DIR" => File.join(ROOT, "target") }
    out, status = Open3.capture2e(Children::CLEAN.merge(environment), "bash", "-ec", command, chdir: folder)
    raise out unless status.success?
  end

  # What the stage of NoDevent builds. Compiling a copy of the sources takes minutes, so by default only the Makefile is
  # written there; the files are those of this checkout.
  def make(command, folder)
    return compile(command, folder) if ENV.key?("NODEVENT_TEST_FULL")

    built = command[/sitearchdir=(\S+)/, 1]
    printed = run("bash", "-ec", command.sub("make install", "make --dry-run install"), folder: folder)
    expect(printed).to include("--profile release").and include("-p nodevent-ext").and include("-p nodevent-server").and include("--locked")
    expect(printed).to include("#{built}/nodevent/nodevent.").and include("#{built}/nodevent/bin/nodevent")
    FileUtils.mkdir_p(File.join(built, "nodevent/bin"))
    FileUtils.cp(extension, File.join(built, "nodevent"))
    FileUtils.cp(NodeventServer.binary, File.join(built, "nodevent/bin/nodevent"))
  end

  # Gems are those of the system, so they are not installed into a folder of the image.
  def follow(command, folder)
    case command
    when /\Aruby .*extconf\.rb/ then make(command, folder)
    when /\Abundle install\b/ then run("bundle", "install", "--local", folder: folder, env: { "BUNDLE_FROZEN" => "true" })
    when /assets:precompile/
      run("bash", "-ec", command, folder: folder, env: { "RAILS_ENV" => "production" })
      expect(Dir.children(File.join(folder, "public/assets")).grep(/\Anodevent-room-\h+\.js\z/).size).to eq(1)
    when /\Aapt-get|chmod|sed|bootsnap/ then nil
    else raise "the stage has an unknown command: #{command}"
    end
  end

  def expect_the_guide_to_show_the_files
    shown = File.read(File.join(ROOT, "docs/hosting.md"))[/^## The image of Rails\n(.*?)^## /m, 1].scan(/```(\w+)\n(.*?)```/m)
    expect(shown.map(&:first)).to include("dockerfile", "dockerignore")
    shown.each do |kind, text|
      file = { "dockerfile" => "Dockerfile", "dockerignore" => ".dockerignore" }[kind] or next
      text.split(/^# …\n/).each { |part| expect(read(file)).to include(part.strip) }
    end
  end

  it "builds an image without Rust, with the gem of the submodule, and without a secret" do
    create
    add_submodule
    version = Gem::Version.new(run("rails", "--version", folder: @folder)[/[\d.]+/])
    expect(File.exist?(File.join(@app, "Dockerfile"))).to be(version >= Gem::Version.new("7.1"))
    write("Dockerfile", stages) unless File.exist?(File.join(@app, "Dockerfile"))
    write(".dockerignore", "/.git/\n/config/master.key\n") unless File.exist?(File.join(@app, ".dockerignore"))
    run("bundle", "install", "--local")
    expect(generate).to include("insert  Dockerfile")
    written = [read("Dockerfile"), read(".dockerignore")]
    expect(generate).to include("identical  Dockerfile").and include("identical  .dockerignore")
    expect([read("Dockerfile"), read(".dockerignore")]).to eq(written)

    image = ImageBuild.new(@app, File.join(@folder, "image"))
    expect(image.stages.map(&:name)).to eq(%w[base nodevent build final])
    expect(image.context).to include("vendor/NoDevent/Cargo.lock", "vendor/NoDevent/lib/nodevent.rb", "config/nodevent.yml")
    expect(image.context.grep(%r{\.git\z|/target/|nodevent\.so\z|nodevent\.bundle\z|master\.key\z})).to eq([])
    image.build("nodevent") { |command, _, folder| follow(command, folder) }
    image.build("build") { |command, _, folder| follow(command, folder) }
    final = image.stage("final")
    expect(final.instructions.select { |word, _| word == "COPY" }.join).not_to match(/rust|cargo|from=nodevent/)
    expect(image.stages.reject { |stage| stage.name == "nodevent" }.flat_map(&:instructions).join).not_to match(/rust|cargo/)

    rails = image.path("build", "rails")
    expect(Dir.children(File.join(rails, "vendor/NoDevent"))).not_to include("target")
    production = { "RAILS_ENV" => "production", "SECRET_KEY_BASE" => "1" * 32, "SECRET_KEY_BASE_DUMMY" => "1", "BUNDLE_FROZEN" => "true" }
    loaded = run("bin/rails", "runner", 'puts $LOADED_FEATURES.grep(/nodevent\.(so|bundle)\z/)', folder: rails, env: production)
    # Rails' log may be on the standard output, too.
    expect(loaded.lines.last).to start_with("#{File.realpath(rails)}/vendor/NoDevent/lib/nodevent/nodevent.")
    expect(run("bundle", "exec", "nodevent", "--version", folder: rails, env: production)).to match(/\Anodevent \d/)
    expect(run("bundle", "exec", "ruby", "-e", 'require "nodevent/server_binary"; puts NoDevent::ServerBinary.path', folder: rails, env: production))
      .to end_with("/vendor/NoDevent/lib/nodevent/bin/nodevent\n")
  end

  it "keeps the line ends, adds .dockerignore, writes what the guide shows, and says what it cannot do" do
    create(gem: ROOT)
    write("Dockerfile", stages)
    out = generate
    expect(out).to include("the gem's folder is outside of the application")
    expect(read("Dockerfile")).to eq(stages)

    FileUtils.ln_s(ROOT, File.join(@app, "vendor/NoDevent"))
    write("Gemfile", read("Gemfile").sub(ROOT, "vendor/NoDevent"))
    FileUtils.rm_f(File.join(@app, "Gemfile.lock"))
    FileUtils.rm_f(File.join(@app, ".dockerignore"))
    write("Dockerfile", stages.gsub("\n", "\r\n"))
    expect(generate).to include("create  .dockerignore")
    expect(read("Dockerfile").scan("\n").size).to eq(read("Dockerfile").scan("\r\n").size)
    expect(read(".dockerignore")).to start_with("# NoDevent is built in the image.\n/vendor/NoDevent/.git\n")

    write("Dockerfile", read("Dockerfile").gsub("\r\n", "\n"))
    expect_the_guide_to_show_the_files

    write("Dockerfile", "FROM scratch\n")
    expect(generate).to include("Dockerfile is not like that of Rails")
    expect(read("Dockerfile")).to eq("FROM scratch\n")
  end
end
