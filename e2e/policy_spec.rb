# frozen_string_literal: true

# The generated tag and sample under a strict Content-Security-Policy, in a new application that does what the generator
# prints. Nothing needs `unsafe-inline`.
RSpec.describe "The generated files under a strict policy" do
  before(:context) do
    @app = E2E::NewApp.new
    @app.install
    @app.write("config/initializers/content_security_policy.rb", policy(""))
    @advice = @app.run("bin/rails generate nodevent:install")
    @app.configure(@app.read("config/nodevent.yml"))
    @app.write("public/stylesheets/application.css", "") # Sprockets is skipped
    @app.write("config/routes.rb", %(Rails.application.routes.draw { get "/discussions", to: "pages#show" }\n))
    @app.write("app/controllers/pages_controller.rb", %(class PagesController < ApplicationController\n  def show = render(inline: '<%= render "nodevent/sample" %>', layout: true)\nend\n))
  end

  after(:context) { @app&.remove }

  # As in the initializer of Rails, with these lines.
  def policy(lines, nonces: true)
    generator = nonces ? "->(_request) { SecureRandom.base64(16) }" : "nil"
    <<~RUBY
      Rails.application.config.content_security_policy do |policy|
        policy.default_src :none
        policy.style_src :self
        policy.img_src :self
        #{lines}
      end
      Rails.application.config.content_security_policy_nonce_generator = #{generator}
      Rails.application.config.content_security_policy_nonce_directives = %w[script-src]
    RUBY
  end

  def expect_live(lines, nonces: true)
    @app.write("config/initializers/content_security_policy.rb", policy(lines, nonces: nonces))
    @app.start("bundle exec nodevent config/nodevent.yml")
    logs
    omar.visit("#{@app.url}/discussions")
    yield
    expect(logs.map(&:message)).to eq([])
  ensure
    @app.stop
  end

  def logs
    omar.driver.browser.logs.get(:browser)
  end

  let(:connect) { @advice[/policy\.connect_src.*?\n.*?\n/] }

  it "work with a nonce" do
    expect_live("policy.script_src :self\n#{connect}") do
      eventually("the sample has joined") { omar.evaluate_script("NoDevent.room('sample').joined") }
      @app.run(%(bin/rails runner 'NoDevent::Emitter.emit("sample", "hello", "world", wait: true)'))
      expect(omar).to have_css("#nodevent-sample li", text: "world", count: 1)
    end
  end

  it "let the tag work with the address of the server and the hash" do
    @app.write("app/views/nodevent/_sample.html.erb", "<p>No inline script</p>")
    expect_live("#{@advice[/policy\.script_src.*/]}\n#{connect}", nonces: false) do
      eventually("the page is connected") { omar.evaluate_script("NoDevent.connected()") }
    end
  end
end
