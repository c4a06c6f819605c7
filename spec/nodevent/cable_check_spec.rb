# frozen_string_literal: true

require "nodevent/cable/check"
require "tmpdir"

# Issue 17: what cannot work in channels that the server calls is found in the code, with file and line.
RSpec.describe NoDevent::Cable::Check do
  # The findings for a channel with this body, as "line: message".
  def findings(body, name = "ChatChannel < ApplicationCable::Channel")
    lines(described_class.new("chat.rb", "class #{name}\n#{body}end\n").findings)
  end

  def lines(found)
    found.map { |finding| "#{finding.line - 1}: #{finding.message[/\A.*?(?=,|:|$)/]}" }
  end

  it "finds periodic timers" do
    expect(findings("periodically :tick, every: 3.seconds\nperiodically(every: 1) { tick }\nperiodically every: 2 do\nend\n"))
      .to eq(Array.new(3) { |index| "#{index + 1}: `periodically` does not run" })
  end

  it "finds streams with a block, a callback or a coder, and no others" do
    body = <<~'RUBY'
      def subscribed
        stream_from "a" do |message|
          transmit message
        end
        stream_for(room) { |message| transmit message }
        stream_from "b", ->(message) { transmit message }
        stream_from("c", coder: ActiveSupport::JSON)
        stream_from "d", &handler
        stream_from "e"
        stream_for room
        stream_from(params[:name])
        rooms.each { |one| stream_for one }
        stream_or_reject_for room
      end
    RUBY
    with = ->(line, name, what) { "#{line}: `#{name}` with a #{what} cannot work" }
    expect(findings(body)).to eq([with[2, "stream_from", "block"], with[5, "stream_for", "block"],
                                  with[6, "stream_from", "callback"], with[7, "stream_from", "coder"],
                                  with[8, "stream_from", "callback"]])
  end

  it "finds instance variables that another command sets, also through other methods, callbacks and in connections" do
    body = <<~'RUBY'
      after_subscribe :prepare

      def subscribed
        @room = Room.find(params[:id])
        stream_for @room
        @count = 0
        load
      end

      def speak(data)
        @room.speak(data)
        @count += 1
        show
      end

      def fine
        @memo ||= load
        load
        @user.name
        found = (@local = 1)
        @local + found
      end

      def unsubscribed = @prepared.close

      private

      def load = @user = User.first
      def show = transmit(@secret)
      def prepare = (@secret, @prepared = 1, 2)
      def unused = @room
    RUBY
    set = ->(line, name, by, read) { "#{line}: #{name} is set in `#{by}` and read in `#{read}`" }
    expect(findings(body)).to eq([set[11, "@room", "subscribed", "speak"], set[12, "@count", "subscribed", "speak"],
                                  set[24, "@prepared", "prepare", "unsubscribed"], set[29, "@secret", "prepare", "speak"]])
    connection = "identified_by :user\ndef connect\nself.user = find\n@started = Time.now\nend\ndef disconnect = log(@started)\n"
    expect(findings(connection, "Connection < ActionCable::Connection::Base"))
      .to eq([set[6, "@started", "connect", "disconnect"]])
  end

  it "names the fix, and finds nothing in channels that work" do
    finding = described_class.new("a.rb", "class A\ndef subscribed = @a = 1\ndef act = @a\nend\n").findings.first
    expect(finding.to_s).to eq("a.rb:3: @a is set in `subscribed` and read in `act`, but instance variables do not last " \
                               "between commands: write `state_attr_accessor :a`, and `self.` to set it")
    expect(findings("state_attr_accessor :room\ndef subscribed\nself.room = params[:room]\nstream_from room\nend\n")).to eq([])
    expect(described_class.new("a.rb", "class A\n").findings.map(&:to_s)).to eq(["a.rb:1: the file is not valid Ruby"])
    expect(described_class.new("a.rb", "").findings).to eq([])
  end

  it "is a command, which reads app/channels and has an exit status" do
    Dir.mktmpdir do |folder|
      FileUtils.mkdir_p(File.join(folder, "app/channels/sub"))
      File.write(File.join(folder, "Rakefile"), "load '#{ROOT}/lib/tasks/nodevent.rake'\n")
      File.write(File.join(folder, "app/channels/chat_channel.rb"), "class ChatChannel\nend\n")
      run = lambda do
        environment = Children::CLEAN.merge("RUBYLIB" => "#{ROOT}/lib", "RUBYOPT" => "-W0")
        Open3.capture2e(environment, "rake", "nodevent:cable:check", chdir: folder).then { |out, status| [out, status.exitstatus] }
      end
      expect(run.call).to eq(["ok: nothing in app/channels needs to change\n", 0])
      File.write(File.join(folder, "app/channels/sub/timer_channel.rb"), "class TimerChannel\n  periodically :a, every: 1\nend\n")
      out, status = run.call
      expect(out).to start_with("app/channels/sub/timer_channel.rb:2: `periodically` does not run")
      expect(out).to include("1 to change\nSee docs/from-action-cable.md for each.")
      expect(status).to eq(1)
    end
  end
end
