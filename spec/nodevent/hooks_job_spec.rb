# frozen_string_literal: true

# `NoDevent.on(:left, job: …)` with the real Active Job: a signed request of the server, through the routes of an
# application, to the `perform` of a job.
RSpec.describe "Hooks and Active Job" do
  include RailsApp

  # What the server sends, and what a job does with it. SEEN has what was performed, and in which thread.
  script = <<~'RUBY'
    secret = "a-secret-for-hooks-of-more-than-32-bytes"
    NoDevent::Emitter.config = { "hooks" => { "url" => "http://localhost/nodevent/hooks", "secret" => secret } }
    App.routes.draw { mount NoDevent::Hooks => "/nodevent/hooks" }
    SEEN = Queue.new
    class DeskClosedJob < ActiveJob::Base
      self.queue_adapter = ENV.fetch("ADAPTER").to_sym
      retry_on(IOError, wait: 0.seconds, attempts: 3) if ENV["FAILS"]

      def perform(hash)
        raise IOError, "the database does not respond" if ENV["FAILS"] && executions < 3

        event = NoDevent::HookEvent.from(hash)
        is_later = !Thread.current.equal?(Thread.main)
        SEEN << [event.type, event.namespace, event.id, event.room, event.user, event.info, event.count, event.at.to_f,
                 is_later]
      end
    end
    NoDevent.on(:left, job: DeskClosedJob)
    event = { id: "1-0", type: "left", at: 1_798_761_600_500, room: "Desk_1", user: "7", info: { name: "Ünï" }, count: 2 }
    body = JSON.generate(namespace: "/nodevent", events: [event, event.merge(id: "2-0", user: "8")])
    signature = NoDevent::Hooks.sign(secret, Time.now.to_i, body)
    status, = App.call(Rack::MockRequest.env_for("/nodevent/hooks", method: "POST", input: body,
                                                                    "HTTP_X_NODEVENT_SIGNATURE" => signature))
    seen = Array.new(2) { Timeout.timeout(60) { SEEN.pop } }
    puts JSON.generate(status: status, seen: seen.sort_by { |one| one[2] })
  RUBY

  def expected(is_later)
    of = ->(id, user) { ["left", "/nodevent", id, "Desk_1", user, { "name" => "Ünï" }, 2, 1_798_761_600.5, is_later] }
    { "status" => 204, "seen" => [of["1-0", "7"], of["2-0", "8"]] }
  end

  { "inline" => false, "async" => true }.each do |adapter, is_later|
    it "performs a job for each event with the adapter #{adapter}" do
      out = rails(script, env: { "ADAPTER" => adapter })
      expect(JSON.parse(out)).to eq(expected(is_later))
    end
  end

  it "leaves a job that fails to Active Job, and the server has its response" do
    out = rails(script, env: { "ADAPTER" => "async", "FAILS" => "1" })
    expect(JSON.parse(out)).to eq(expected(true))
  end
end
