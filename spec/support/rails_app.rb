# frozen_string_literal: true

require "tmpdir"

# A Rails application in its own process, with an in-memory database and a temporary folder.
module RailsApp
  PRELUDE = <<~'RUBY'
    %s
    require "rails"
    require "active_record/railtie"
    require "action_controller/railtie"
    require "action_view/railtie"
    require "active_job/railtie"
    %s
    class App < Rails::Application
      config.root = Dir.pwd
      config.eager_load = false
      config.logger = Logger.new($stderr)
      config.secret_key_base = "x" * 40
      config.hosts.clear
      config.active_job.queue_adapter = :inline
      config.active_support.deprecation = :raise
      %s
    end
    App.initialize!
    class Recorder
      attr_reader :published
      def initialize = @published = []
      def publish(channel, json) = (@published << [channel, JSON.parse(json)]; 1)
      def rooms = @published.map { |_, publication| publication.values_at("room", "event") }
    end
    RECORDER = Recorder.new
    $redis = RECORDER
  RUBY

  DATABASE = <<~'RUBY'
    ActiveRecord::Schema.verbose = false
    ActiveRecord::Schema.define do
      create_table(:some_models) { |t| t.string :title; t.timestamps }
    end
  RUBY

  # The output of a script in an application with these files.
  # @param settings [String] more lines of config/application.rb
  # @param env [Hash{String => String, nil}] without a DATABASE_URL, Active Record is not loaded before the script
  def rails(script, files: {}, nodevent_first: false, env: {}, settings: "")
    Dir.mktmpdir do |folder|
      files.each do |path, text|
        FileUtils.mkdir_p(File.dirname(File.join(folder, path)))
        File.write(File.join(folder, path), text)
      end
      gem = 'require "nodevent"'
      prelude = format(PRELUDE, nodevent_first ? gem : "", nodevent_first ? "" : gem, settings)
      environment = Children::CLEAN.merge("RAILS_ENV" => "development", "DATABASE_URL" => "sqlite3::memory:").merge(env)
      prelude += DATABASE if environment["DATABASE_URL"]
      out, err, status = Open3.capture3(environment, *Children::LIMITED, RbConfig.ruby, "-W0",
                                        "-I#{ROOT}/lib", "-e", prelude + script, chdir: folder)
      raise "the application failed (#{status}): #{err}" unless status.success?

      @rails_log = err
      out
    end
  end
end
