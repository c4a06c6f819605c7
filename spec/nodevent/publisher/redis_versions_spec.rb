# frozen_string_literal: true

require "tmpdir"

# Issue 11, section H: publications are kept and sent later while Redis does not accept them, in every version. Redis
# 6.2 wraps the errors of commands in scripts in `ERR`.
#
# Cases: READONLY, OOM, MISCONF, NOREPLICAS, MASTERDOWN, BUSY; each with and without `wait: true`; what is permanent is
# still rejected at once. LOADING, CLUSTERDOWN and TRYAGAIN are in the tests of `protocol/src/history/redis_error.rs`.
RSpec.describe "Versions of Redis", :native do
  states = {
    "READONLY" => [->(one) { one.call("REPLICAOF", "127.0.0.1", "1") }, ->(one) { one.call("REPLICAOF", "NO", "ONE") }],
    "OOM" => [->(one) { one.call("CONFIG", "SET", "maxmemory", "1") },
              ->(one) { one.call("CONFIG", "SET", "maxmemory", "0") }],
    "NOREPLICAS" => [->(one) { one.call("CONFIG", "SET", "min-replicas-to-write", "1") },
                     ->(one) { one.call("CONFIG", "SET", "min-replicas-to-write", "0") }],
    "MASTERDOWN" => [lambda { |one|
      one.call("CONFIG", "SET", "replica-serve-stale-data", "no")
      one.call("REPLICAOF", "127.0.0.1", "1")
    }, ->(one) { one.call("REPLICAOF", "NO", "ONE") }],
    "MISCONF" => [lambda { |one|
      FileUtils.rm_rf(one.call("CONFIG", "GET", "dir").last)
      one.call("SET", "changed", "1")
      one.call("CONFIG", "SET", "save", "1 1")
      one.call("BGSAVE")
      sleep(0.02) until one.call("INFO", "persistence").include?("rdb_last_bgsave_status:err")
    }, ->(one) { one.call("CONFIG", "SET", "stop-writes-on-bgsave-error", "no") }]
  }

  def publications(server, count)
    position = eventually("#{count} publications") do
      log = server.client.keys("nodevent:1:*:log").first
      log && server.client.xrange(log).then { |all| all if all.size >= count }
    end
    position.map { |_, fields| JSON.parse(fields["d"])["message"] }
  end

  RedisVersions::PACKAGES.keys.push("the default").each do |version|
    context "with #{version}" do
      before do
        program = RedisVersions.all.fetch(version)
        @folder = Dir.mktmpdir
        @redis = RedisServer.new(program: program, options: ["--dir", @folder])
        NoDevent::Emitter.config = { redis: @redis.url }
      end

      after do
        @redis&.kill # Redis refuses to stop while it cannot save
        FileUtils.rm_rf(@folder)
      end

      states.each do |state, (enter, leave)|
        it "keeps what is emitted during #{state}, and sends it in order afterwards" do
          NoDevent::Emitter.emit("r", "e", "before", wait: true)
          enter.call(@redis.client)
          expect(NoDevent::Emitter.emit("r", "e", 1)).to be(true)
          expect(NoDevent::Emitter.emit("r", "e", 2)).to be(true)
          eventually("the report") { @log.string.include?(state) }
          expect { NoDevent::Emitter.emit("r", "e", "withdrawn or late", wait: true, timeout: 0.3) }
            .to raise_error(NoDevent::PublishError, /no response.*#{state}/)
          expect(NoDevent::Emitter.publisher.flush(0.1)).to be(false)
          leave.call(@redis.client)
          expect(NoDevent::Emitter.publisher.flush(10)).to be(true)
          expect(publications(@redis, 3).first(3)).to eq(["before", 1, 2])
          # Other publishers of this process may report too.
          expect(@log.string).not_to match(/not published:.*#{@redis.port}/)
        end
      end

      it "keeps what is emitted while a script runs" do
        NoDevent::Emitter.emit("r", "e", "before", wait: true)
        @redis.client.call("CONFIG", "SET", "lua-time-limit", "50")
        busy = Thread.new { @redis.client(timeout: 20).call("EVAL", "while true do end", "0") rescue nil } # rubocop:disable Style/RescueModifier
        sleep(0.2)
        NoDevent::Emitter.emit("r", "e", 1)
        eventually("the report") { @log.string.include?("BUSY") }
        @redis.client.call("SCRIPT", "KILL")
        busy.join
        expect(NoDevent::Emitter.publisher.flush(10)).to be(true)
        expect(publications(@redis, 2)).to eq(["before", 1])
      end

      it "rejects at once what Redis will never accept" do
        NoDevent::Emitter.emit("r", "e", 1, wait: true)
        log = @redis.client.keys("nodevent:1:*:log").first
        @redis.client.set(log, "not a stream")
        expect { NoDevent::Emitter.emit("r", "e", 2, wait: true) }
          .to raise_error(NoDevent::PublishError, /Redis rejected the publication: .*WRONGTYPE/)
      end
    end
  end
end
