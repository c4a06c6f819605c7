# frozen_string_literal: true

# Follows the README's Rails section on a new application: runs every code block of that section, in order. N-107.
RSpec.describe "The README's Rails section, on a new application" do
  before(:context) do
    @readme = E2E::Readme.new("Add it to a Rails application")
    @app = E2E::NewApp.new
    follow
  end

  after(:context) { @app&.remove }

  # All steps except starting the processes.
  def follow
    # The gem is not published yet, so the first command has a replacement.
    _add, generate, @serve = @readme.next("").lines(chomp: true)
    @app.append("Gemfile", @readme.next("ruby"))
    @app.run(@readme.next(""))
    @app.run(generate)
    @generated = @app.read("config/nodevent.yml")
    @by_hand = @readme.next("yaml")
    @check = @readme.next("").strip
    [/generate scaffold/, /generate model/, /db:migrate/].each { |command| @app.run(@readme.code(command)) }
    E2E::Readme.files(@readme.next("ruby")).each { |file, text| @app.write(file, text) }
    @tag = @readme.next("erb")
    E2E::Readme.files(@readme.next("erb")).each { |file, text| @app.append(file, text) }
  end

  # Two browsers have the page open, a comment is written in another process, and both show it. `rake nodevent:doctor` agrees.
  def expect_a_live_page(configuration)
    @app.configure(configuration)
    expect(@app.run(@check)).to include("config/nodevent.yml: no errors")
    @app.start(@serve)
    open_discussion
    @app.run("bin/rails runner '#{@readme.code(/comments\.create!/).sub('first', 'last')}'")
    [ines, omar].each { |person| expect(person).to have_css("#comments li", text: "Hello", count: 1) }
    expect(@app.run(@readme.code(/\Arake nodevent:doctor/))).to include("arrived through the server")
    yield if block_given?
  ensure
    @app.stop
  end

  # The server hangs: the page is shown at once and joins its room. Later the comment of the meantime arrives.
  def expect_a_page_without_server
    id = @app.run(%(bin/rails runner 'print Discussion.create!(title: "Soon").id')).to_i
    @app.while_hanging do
      Timeout.timeout(5) { omar.visit("#{@app.url}/discussions/#{id}") }
      expect(omar).to have_css("#comments", visible: :all)
      expect(omar.evaluate_script("[NoDevent.connected(), NoDevent.room('Discussion_#{id}').id]")).to eq([false, "Discussion_#{id}"])
    end
    eventually("the page is in its room") { omar.evaluate_script("NoDevent.room('Discussion_#{id}').joined") }
    @app.run("bin/rails runner '#{@readme.code(/comments\.create!/).sub('first', 'last')}'")
    expect(omar).to have_css("#comments li", text: "Hello", count: 1)
  end

  def open_discussion
    id = @app.run(%(bin/rails runner 'print Discussion.create!(title: "Live?").id')).to_i
    [ines, omar].each do |person|
      person.visit("#{@app.url}/discussions/#{id}")
      eventually("the page is in its room") { person.evaluate_script("NoDevent.room('Discussion_#{id}').joined") }
    end
  end

  # Everything that the page loads, the client included, comes from the application.
  def expect_one_port
    loaded = omar.evaluate_script("performance.getEntriesByType('resource').map(({ name }) => name)")
    expect(loaded.grep(/nodevent/)).not_to be_empty
    expect(loaded.map { |address| URI(address).port }.uniq).to eq([@app.port])
  end

  it "uses every code block" do
    expect(@readme).to be_done
    expect(@app.read("app/views/layouts/application.html.erb").scan(@tag.strip).size).to eq(1)
  end

  it "is live with the generated configuration, and shown at once while the server hangs" do
    expect(YAML.safe_load(@generated, aliases: true)["development"]["/nodevent"].keys).to eq(["secret"]) # no Redis
    expect_a_live_page(@generated) do
      expect_one_port
      expect_a_page_without_server
    end
  end

  it "is live with the handwritten configuration, on Redis" do
    redis = E2E::Redis.new
    @app.export("REDIS_URL" => redis.url, "NODEVENT_SECRET" => @app.run(@by_hand[/openssl.*/]).strip)
    expect_a_live_page(@by_hand)
    expect(redis.ask("keys", "nodevent:*")).to include("Discussion")
  ensure
    redis&.stop
  end

  it "is live with the handwritten configuration, without Redis" do
    key = @readme.code(/publish_key:/)
    @app.export("NODEVENT_SECRET" => SecureRandom.hex(32), "NODEVENT_PUBLISH_KEY" => SecureRandom.hex(16))
    expect_a_live_page(@by_hand.sub(/redis:.*/, key))
  end

  it "tests without server and Redis" do
    @app.write("spec/comment_spec.rb", <<~RUBY)
      require_relative "../config/environment"
      #{@readme.code(/\Arequire "nodevent/)}

      RSpec.describe Comment do
        it "is emitted to its discussion" do
          discussion = Discussion.create!(title: "Tested")
          comment = discussion.comments.build(body: "Hello")
          #{@readme.code(/have_emitted/)}
        end
      end
    RUBY
    expect(@app.run("bundle exec rspec")).to include("1 example, 0 failures")
  end
end
