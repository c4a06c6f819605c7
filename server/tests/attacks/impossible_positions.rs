//! Attack 1: joins with positions that cannot exist. Each makes a read in Redis fail and stays pending, and all joins of
//! a shard share the budget of pending ones, so that one connection closes the joins of all others.

use crate::attacker::{self, join, join_since};
use crate::process::Process;
use crate::support::raw::Raw;
use std::time::{Duration, Instant};

/// Positions that no room has had: the highest offsets, an offset whose successor is negative in Redis, offsets beyond
/// the numbers that Lua and streams represent exactly, and an unknown epoch.
const IMPOSSIBLE: [&str; 5] = [
    "0000000000000000:9223372036854775807",
    "0000000000000000:18446744073709551615",
    "ffffffffffffffff:9223372036854775806",
    "0123456789abcdef:9007199254740993",
    "0123456789abcdef:1",
];
/// Checks that each join is acknowledged without a retry: the server has nothing to replay, and can decide that.
async fn assert_answered_immediately(process: &Process) {
    for (number, since) in IMPOSSIBLE.iter().enumerate() {
        let mut raw = Raw::connected(&process.site, "/nodevent").await;
        let began = Instant::now();
        let ack = join(&mut raw, &join_since(1, &format!("room-{number}"), since)).await;
        assert!(ack.starts_with("[null,true,") && ack.contains("\"recovered\":false"), "{since}: {ack}");
        assert!(began.elapsed() < Duration::from_secs(1), "{since}: {:?}", began.elapsed());
    }
}

#[test]
fn impossible_position_is_answered_immediately_by_the_memory_engine() {
    attacker::run(async {
        assert_answered_immediately(&Process::start("/nodevent: {}").await).await;
    });
}
